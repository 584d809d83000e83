"""`tunegate check FILE`: the dataset report without a server, for a terminal or as JSON."""

import sys
from pathlib import Path

import msgspec
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from service.datasets.leakage import find_leakage
from service.datasets.present import render_leakage, render_profile, render_report
from service.datasets.report_schema import FileReport
from service.datasets.stopwatch import Stopwatch
from service.datasets.validation import pieces_of, report_for_path
from service.errors import ApiError
from service.settings import Settings

EXIT_CLEAN, EXIT_ERRORS, EXIT_UNREADABLE = 0, 1, 2


def check_file(file: Path, *, model: str | None, settings: Settings, as_json: bool, profile: bool = False) -> int:
    """Check one file and show its report. The exit status; what keeps a file from being read goes to stderr."""
    watch = Stopwatch() if profile else None
    try:
        report = _read(file, model, settings, watch)
    except OSError as error:
        print(f"tunegate: cannot read {file}: {error.strerror or error}", file=sys.stderr)
        return EXIT_UNREADABLE
    except ApiError as error:
        print(f"tunegate: {error.message}", file=sys.stderr)
        return EXIT_UNREADABLE
    if as_json:
        print(msgspec.json.encode(report).decode())
    else:
        render_report(report, Console(highlight=False))
    if watch is not None:
        render_profile(watch.seconds, Console(stderr=True, highlight=False))
    return EXIT_ERRORS if report.errors else EXIT_CLEAN


def compare_files(training: Path, validation: Path, *, as_json: bool) -> int:
    """Say what two files share: leakage makes a validation loss look better than it is. 1 when they share anything."""
    try:
        found = find_leakage(pieces_of(training), pieces_of(validation))
    except OSError as error:
        print(f"tunegate: cannot read {error.filename}: {error.strerror or error}", file=sys.stderr)
        return EXIT_UNREADABLE
    if as_json:
        print(msgspec.json.encode(found).decode())
    else:
        render_leakage(found, Console(highlight=False))
    return EXIT_ERRORS if found.exact + found.same_prompt + found.near else EXIT_CLEAN


def _read(file: Path, model: str | None, settings: Settings, watch: Stopwatch | None) -> FileReport:
    console = Console(stderr=True)
    columns = (TextColumn("Checking {task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"))
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(file.name, total=file.stat().st_size)

        def progress(bytes_read: int) -> None:
            bar.update(task, completed=bytes_read)

        return report_for_path(file, model, settings, progress, watch)
