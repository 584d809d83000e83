"""Files that a job can train on: uploaded if they are on this machine, checked, and shown with what was found."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console

from cli.advice import ABOUT_TRAINING, with_options, without_findings
from cli.client import Client
from cli.errors import Refused, ReportPending
from cli.next_steps import Commands
from cli.uploads import POLL_SECONDS, is_file_id, report_of, uploaded
from service.datasets.report.terminal import render_findings, render_leakage
from service.datasets.report_schema import FileReport

SHARED_SHOWN = 3
"""The shared examples that are shown; `tunegate check` lists more."""

MAX_CHECK_SECONDS = 600.0
"""How long the check of a file may take that a request needs."""


def checked(client: Client, file: str, console: Console, *, model: str, is_held_out: bool = False) -> str:
    """The id of a file without errors; its errors and warnings are printed. Raises `Refused` for one with errors."""
    file_id = uploaded(client, file, console)
    report = msgspec.convert(report_of(client, file_id, console, model=model), FileReport)
    if is_held_out:
        report = without_findings(report, ABOUT_TRAINING)
    if report.errors or report.warnings or not is_held_out:
        fix_command = str if is_file_id(file) else Commands(Path(file), report, model=model).for_fix
        render_findings(with_options(report), console, fix_command)
    if report.errors:
        raise Refused(
            f"{file} has errors, so nothing was created. The gateway has it as {file_id}: "
            f"`tunegate files delete {file_id}` deletes it there."
        )
    return file_id


def checked_pair(client: Client, file: str, valid: str | None, console: Console, *, model: str) -> dict[str, str]:
    """The ids of a training file and a validation file, as fields of a create; what the two share is printed.

    Raises as `checked`.
    """
    training_file = checked(client, file, console, model=model)
    if valid is None:
        return {"training_file": training_file}
    validation_file = checked(client, valid, console, model=model, is_held_out=True)
    report = report_of(client, training_file, console, validation_file=validation_file)
    leakage = msgspec.convert(report, FileReport).leakage
    if leakage is not None and leakage.shared:
        render_leakage(leakage, console, shown=SHARED_SHOWN)
    return {"training_file": training_file, "validation_file": validation_file}


def post_when_checked(client: Client, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """Repeat a request until the report of its file is ready. Raises `Refused`."""
    deadline = time.monotonic() + MAX_CHECK_SECONDS
    while True:
        try:
            return client.post(path, body)
        except ReportPending:
            if time.monotonic() > deadline:
                raise
            time.sleep(POLL_SECONDS)
