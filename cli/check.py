"""`tunegate check FILE`: the dataset report without a server, for a terminal or as JSON.

The modules that draw on a terminal take a tenth of a second to import, so they are imported where they are used.
"""

import gc
import sys
from pathlib import Path

import msgspec

from cli.input_files import why_unreadable
from service.catalogue.base_models import BaseModel
from service.catalogue.lookup import known_model
from service.catalogue.models_file import load
from service.datasets.processes.report import report_for_path
from service.datasets.report.process_pool import ProcessEnded
from service.datasets.report.profiler import Profiler
from service.datasets.report_schema import FileReport
from service.errors import ApiError
from service.processes.guard import LimitReached
from service.settings import Settings

EXIT_CLEAN, EXIT_ERRORS, EXIT_UNREADABLE = 0, 1, 2
NO_MEMORY = "there is not enough memory; split the file"


def check_file(
    file: Path,
    *,
    model: str | None,
    settings: Settings,
    as_json: bool,
    validation: Path | None = None,
    profile: bool = False,
) -> int:
    """Check one file and show its report, with the examples that it shares with the `validation` file.

    Returns the exit status. Why a file cannot be read is printed to standard error.
    """
    profiler = Profiler() if profile else None
    try:
        report = _read(file, model, settings, profiler)
        if validation is not None:
            from service.datasets.processes.leakage import leakage_of_paths

            report = msgspec.structs.replace(report, leakage=leakage_of_paths(file, validation))
    except OSError as error:
        named = validation if validation is not None and error.filename == str(validation) else file
        print(f"tunegate: {why_unreadable(named, error)}", file=sys.stderr)
        return EXIT_UNREADABLE
    except ApiError as error:
        print(f"tunegate: {error.message}", file=sys.stderr)
        return EXIT_UNREADABLE
    except (LimitReached, ProcessEnded, MemoryError) as error:
        print(f"tunegate: {file}: {str(error) or NO_MEMORY}", file=sys.stderr)
        return EXIT_UNREADABLE
    if as_json:
        print(msgspec.json.encode(report).decode())
    else:
        from rich.console import Console

        from cli.advice import with_options
        from cli.next_steps import TRIED, Commands, show
        from service.datasets.report.terminal import render_leakage, render_report

        console = Console(highlight=False)
        commands = Commands(file, report, model=model)
        if not TRIED.isdisjoint(report.counts):
            commands.read_first_rows(_model(model, settings))
        render_report(with_options(report), console, commands.for_fix)
        show(commands, console)
        if report.leakage is not None:
            render_leakage(report.leakage, console)
    if profiler is not None:
        from rich.console import Console

        from service.datasets.report.terminal import render_profile

        render_profile(profiler.seconds, Console(stderr=True, highlight=False))
    gc.freeze()  # the interpreter would look for unreachable objects before it ends, which takes a tenth of a second
    leaks = report.leakage is not None and report.leakage.shared > 0
    return EXIT_ERRORS if report.errors or leaks else EXIT_CLEAN


def _model(name: str | None, settings: Settings) -> BaseModel:
    catalogue = load(settings.models_file)
    return catalogue.default if name is None else known_model(catalogue, name)


def _read(file: Path, model: str | None, settings: Settings, profiler: Profiler | None) -> FileReport:
    if not sys.stderr.isatty():
        return report_for_path(file, model, settings, profiler=profiler)
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    columns = (TextColumn("Checking {task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(file.name, total=file.stat().st_size)

        def progress(bytes_read: int) -> None:
            bar.update(task, completed=bytes_read)

        return report_for_path(file, model, settings, progress, profiler)
