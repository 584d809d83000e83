"""Writes a response to a file on this machine: complete, or not at all."""

import contextlib
import os
import tempfile
from pathlib import Path
from typing import IO

import httpx2
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn

from cli.errors import Refused
from cli.output import printable
from cli.progress import progress_bar


def write_response(response: httpx2.Response, out: Path, *, force: bool, console: Console) -> None:
    """Write the body of a streamed response, with progress on `console`.

    It is written beside `out` first, so that a broken download leaves nothing, and what is there as it was. Raises
    `Refused` if `out` exists and `force` is false, or if it cannot be written.
    """
    check_writable(out, force=force)
    try:
        if out.exists() and not out.is_file():  # a device or a pipe, such as /dev/stdout
            with out.open("wb") as device:
                _copy(response, device, out.name, console)
            return
        descriptor, part = tempfile.mkstemp(prefix=f".{out.name[:100]}.", suffix=".part", dir=out.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                _copy(response, file, out.name, console)
            Path(part).chmod(0o666 & ~_umask())
            (os.replace if force else os.link)(part, out)
        finally:
            with contextlib.suppress(FileNotFoundError):
                Path(part).unlink()
    except FileExistsError:
        raise _exists(out) from None
    except OSError as error:
        raise Refused(f"{out} cannot be written: {error.strerror or error}") from None


def check_writable(out: Path, *, force: bool) -> None:
    """Raises `Refused` if a file exists that `force` does not allow to overwrite."""
    if not force and out.is_file():
        raise _exists(out)


def _exists(out: Path) -> Refused:
    return Refused(f"{out} exists. Give --force to overwrite it, or another name with --out.")


def _copy(response: httpx2.Response, file: IO[bytes], name: str, console: Console) -> None:
    columns = (TextColumn("Writing {task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    length = response.headers.get("content-length")
    with progress_bar(console, *columns) as progress:
        bar = progress.add_task(printable(name), total=float(length) if length else None)
        for chunk in response.iter_bytes():
            file.write(chunk)
            progress.advance(bar, len(chunk))


def _umask() -> int:
    present = os.umask(0o077)
    os.umask(present)
    return present
