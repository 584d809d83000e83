"""Files of a project at the terminal."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec
from rich.console import Console
from rich.text import Text

from cli import output
from cli.advice import with_options
from cli.client import Client
from cli.downloads import check_writable, write_response
from cli.errors import Refused
from cli.output import Column, moment, print_fields, print_json, print_table, printable, size, status
from cli.paths import path_of
from cli.uploads import report_of
from service.datasets.report.terminal import render_leakage, render_report
from service.datasets.report_schema import FileReport

EXIT_CLEAN, EXIT_ERRORS = 0, 1
COLUMNS = (
    Column("id", whole=True),
    Column("name", fold=True),
    Column("purpose", spare=True),
    Column("size", "right"),
    Column("status"),
    Column("created", spare=True),
    Column("expires"),
)


def show_files(files: Sequence[Mapping[str, Any]], console: Console) -> None:
    """Print files as a table."""
    rows = [
        (
            file["id"],
            file["filename"],
            file["purpose"],
            size(file["bytes"]),
            status(file["status"]),
            moment(file["created_at"]),
            moment(file["expires_at"]),
        )
        for file in files
    ]
    print_table(COLUMNS, rows, console, empty="There are no such files.")


def show_file(file: Mapping[str, Any], console: Console) -> None:
    """Print all that is known of a file."""
    fields = [
        ("id", file["id"]),
        ("name", file["filename"]),
        ("purpose", file["purpose"]),
        ("size", f"{size(file['bytes'])} ({file['bytes']:,} bytes)"),
        ("status", status(file["status"])),
        ("details", file["status_details"]),
        ("created", moment(file["created_at"])),
        ("expires", moment(file["expires_at"])),
    ]
    print_fields(fields, console)


def download(client: Client, file_id: str, out: Path | None, *, force: bool) -> None:
    """Write the content of a file to `out`, by default to its own name in this folder; `-` is standard output.

    Raises `Refused` if that file exists, unless `force` is given.
    """
    path = path_of("files", file_id)
    if out == Path("-"):
        with client.stream("GET", f"{path}/content") as response:
            for chunk in response.iter_bytes():
                sys.stdout.buffer.write(chunk)
        sys.stdout.buffer.flush()
        return
    out = Path(local_name(client.get(path)["filename"], file_id)) if out is None else out
    check_writable(out, force=force)
    console = output.console()
    with client.stream("GET", f"{path}/content") as response:
        write_response(response, out, force=force, console=console)
    console.print(Text(printable(f"{out}, {size(out.stat().st_size)}")), soft_wrap=True)


def show_report(client: Client, file_id: str, *, model: str | None, validation_file: str | None, as_json: bool) -> int:
    """Print the report of a file, once it is ready. Returns 1 if it has errors or shares examples, else 0."""
    console = output.console(stderr=as_json)
    body = report_of(client, file_id, console, model=model, validation_file=validation_file)
    report = msgspec.convert(body, FileReport)
    if as_json:
        print_json(body)
    else:
        render_report(with_options(report), console)
        if report.leakage is not None:
            render_leakage(report.leakage, console)
    shares = report.leakage is not None and report.leakage.shared > 0
    return EXIT_ERRORS if report.errors or shares else EXIT_CLEAN


def local_name(filename: str, file_id: str) -> str:
    """The last part of a name that another system gave, so that it lies in this folder. Raises `Refused`."""
    name = PurePosixPath(filename.replace("\\", "/")).name
    if name in ("", "..") or not name.isprintable():
        raise Refused(f"{file_id} has no name that a file could have here. Name one with --out.")
    return name
