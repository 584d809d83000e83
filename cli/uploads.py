"""Datasets on their way to the gateway: uploaded with progress, and checked there."""

import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn
from rich.text import Text

from cli.client import Client
from cli.errors import Refused
from cli.input_files import why_unreadable
from cli.output import printable, size
from cli.progress import progress_bar

FILE_ID = "file-"
MAX_CHECK_SECONDS = 3600.0
"""How long the check of a new file may take."""

POLL_SECONDS = 0.3


def is_file_id(text: str) -> bool:
    """Whether this is the id of a file at the gateway, rather than the path of one on this machine."""
    return text.startswith(FILE_ID) and not Path(text).exists()


def uploaded(client: Client, file: str, console: Console) -> str:
    """The id of a file at the gateway: uploaded first, unless it is the id of one. Raises `Refused`."""
    if is_file_id(file):
        return file
    path = Path(file)
    columns = (TextColumn("Uploading {task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    try:
        with path.open("rb") as content, progress_bar(console, *columns) as progress:
            total = path.stat().st_size
            reader = progress.wrap_file(content, total=total, description=printable(path.name))
            shown = client.upload(reader, filename=path.name)
    except OSError as error:
        raise Refused(why_unreadable(path, error)) from None
    line = f"Uploaded {printable(path.name)}: {shown['id']}, {size(shown['bytes'])}"
    console.print(Text(line, style="dim"), soft_wrap=True)
    file_id: str = shown["id"]
    return file_id


def report_of(
    client: Client, file_id: str, console: Console, *, model: str | None = None, validation_file: str | None = None
) -> dict[str, Any]:
    """The report of a file once it is ready, and with a validation file also what the two share. Raises `Refused`."""
    deadline = time.monotonic() + MAX_CHECK_SECONDS
    columns = (TextColumn("Checking {task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"))
    with progress_bar(console, *columns) as progress:
        bar = progress.add_task(file_id, total=1.0)
        while True:
            report = client.get(f"/files/{file_id}/report", model=model, validation_file=validation_file)
            parts = [report, *([report["leakage"]] if report["leakage"] else [])]
            if all(part["status"] == "ready" for part in parts):
                return report
            if time.monotonic() > deadline:
                raise Refused(f"The check of {file_id} takes over an hour. `tunegate files report {file_id}` shows it.")
            progress.update(bar, completed=min(part["progress"] for part in parts))
            time.sleep(POLL_SECONDS)
