"""`tunegate dev` in a terminal: progress while it starts, then URLs and keys, then changes as they happen."""

import os
import signal
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from threading import Event
from types import FrameType

from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from cli.embedded import EmbeddedFailed
from cli.stack import Ready, Stack, StackFailed, StackOptions
from cli.supervisor import Interrupted, ProgramFailed
from cli.trainer_engine import TrainerEngine
from service.errors import SettingsError

START_ERRORS = (StackFailed, EmbeddedFailed, ProgramFailed, SettingsError)
"""Errors that prevent a stack from starting; their messages are for the user."""


def run_dev(*, port: int, data_dir: Path, ready_file: Path | None, engine: TrainerEngine) -> int:
    """Run the stack until SIGTERM, SIGHUP or Ctrl-C; a second signal kills slow processes. Returns the exit status."""
    console, errors = SteadyConsole(highlight=False), SteadyConsole(stderr=True, highlight=False)
    interrupt, hurry = Event(), Event()
    on_signals(interrupt, hurry)
    plan = StackOptions(
        environ=os.environ,
        data_dir=data_dir.absolute(),
        port=port,
        engine=engine,
        ready_file=ready_file.absolute() if ready_file else None,
    )
    stack = Stack(plan, say=speaker(console), interrupt=interrupt, hurry=hurry)
    try:
        stack.run(lambda ready: _welcome(console, ready, stack.logs, engine))
    except START_ERRORS as error:
        errors.print(Text(f"tunegate: {error}", style="red"), soft_wrap=True)
        return exit_status(error)
    except Interrupted:
        return 0
    console.print(f"stopped; {data_dir} keeps the data", style="dim")
    return 0


def exit_status(error: Exception) -> int:
    """Of a stack that did not start: 1 if a program failed, 2 if the settings or the machine do not allow it."""
    return 1 if isinstance(error, ProgramFailed) else 2


def on_signals(interrupt: Event, hurry: Event) -> None:
    """Install handlers: the first SIGTERM, SIGHUP or Ctrl-C sets `interrupt`, the second one sets `hurry`."""

    def handle(_number: int, _frame: FrameType | None) -> None:
        if interrupt.is_set():
            hurry.set()
        interrupt.set()

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, handle)


class SteadyConsole(Console):
    """A console that survives a broken pipe: a stack continues when the reader of its output ends."""

    def on_broken_pipe(self) -> None:
        """Discard all further output."""
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), self.file.fileno())


def speaker(console: Console) -> Callable[[str], None]:
    """A function that prints a line with the time."""

    def say(text: str) -> None:
        console.print(Text.assemble((f"{datetime.now():%H:%M:%S} ", "dim"), text))

    return say


def _welcome(console: Console, ready: Ready, logs: Path, engine: TrainerEngine) -> None:
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column(overflow="fold")
    models = f"models in {engine.models}" if engine.models else "byte model"
    upstream = f"the trainer on this machine ({models})" if "trainer" in ready.pids else ready.upstream_url
    for name, value in (
        ("base URL", ready.base_url),
        ("API key", ready.api_key),
        ("admin key", ready.admin_key),
        ("upstream", upstream),
        ("docs", ready.base_url.removesuffix("v1") + "docs"),
        ("metrics", "\n".join(f"{url} ({name})" for name, url in ready.metrics_urls.items())),
        ("logs", f"{logs}{os.sep}"),
    ):
        facts.add_row(name, value)
    console.print(
        Panel(facts, title="[bold]Tunegate is running", title_align="left", border_style="green", expand=False)
    )
    console.print("Point any OpenAI client at it:\n")
    # Not in the panel: lines to be copied carry no frame and are not broken.
    variables = (
        f"OPENAI_BASE_URL={ready.base_url}",
        f"OPENAI_API_KEY={ready.api_key}",
        f"OPENAI_ADMIN_KEY={ready.admin_key}",
    )
    console.print(f"export {' '.join(variables)}", soft_wrap=True)
    console.print("\nCtrl-C stops everything.", style="dim")
