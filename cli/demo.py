"""`tunegate demo`: runs the demo on a stack in a temporary folder, and removes the folder afterwards.

It always uses the trainer and embedded servers, regardless of the caller's environment, so that it cannot spend money.
"""

import os
import shutil
import signal
import tempfile
import time
from pathlib import Path
from queue import Queue
from threading import Event, Thread
from types import FrameType

import openai
from rich.console import Console
from rich.text import Text

from cli.demo_story import EXAMPLE, DemoFailed, report_step, run_story
from cli.dev import START_ERRORS, SteadyConsole
from cli.stack import Ready, Stack, StackOptions
from cli.supervisor import Interrupted, log_tail

PACE_SECONDS = "0.1"
"""The minimum time of a training step, so that the progress is visible: 192 steps take 20 seconds."""

FAILURES = (*START_ERRORS, DemoFailed, openai.OpenAIError, OSError)
LOG_LINES = 8


def run_demo(data_dir: Path | None) -> int:
    """Run the demo. Returns 0 on success, 1 on failure, 130 after an interruption."""
    console = SteadyConsole(highlight=False)
    if not EXAMPLE.is_dir():
        console.print(f"The demo needs the folder {EXAMPLE}: run it from a checkout.", style="red")
        return 1
    folder = data_dir.absolute() if data_dir else Path(tempfile.mkdtemp(prefix="tunegate-demo-"))
    interrupt, hurry = Event(), Event()
    _on_signals(interrupt, hurry)
    environ = {name: value for name, value in os.environ.items() if not name.startswith("TUNEGATE_")}
    plan = StackOptions(
        environ={"TRAINER_PACE_SECONDS": PACE_SECONDS} | environ,
        data_dir=folder,
        port=0,
        always_trainer=True,
        always_embedded=True,
    )
    background = _Background(Stack(plan, say=lambda _: None, interrupt=interrupt, hurry=hurry), interrupt)
    try:
        _run(console, background)
    except Interrupted:
        console.print("interrupted", style="dim")
        status = 130
    except FAILURES as error:
        console.print(Text.assemble(("✗ ", "bold red"), str(error)), soft_wrap=True)
        _show_logs(console, folder / "logs")
        console.print(f"{folder} keeps everything.", style="dim")
        return 1
    else:
        status = 0
    if data_dir is None:
        shutil.rmtree(folder, ignore_errors=True)
    return status


def _run(console: Console, background: "_Background") -> None:
    began = time.monotonic()
    try:
        with console.status("Starting PostgreSQL, Valkey, the trainer, the API and a worker"):
            ready = background.start()
        report_step(console, f"Tunegate serves at {ready.base_url}", f"{time.monotonic() - began:.1f} s from nothing")
        run_story(ready, console)
    finally:
        with console.status("Stopping"):
            background.stop()


class _Background:
    """A stack in a thread of its own, which starts, supervises and stops it; the demo runs in the main thread."""

    def __init__(self, stack: Stack, interrupt: Event) -> None:
        self._stack = stack
        self._interrupt = interrupt
        self._outcome: Queue[Ready | Exception] = Queue()
        self._thread = Thread(target=self._run, name="stack")

    def start(self) -> Ready:
        """Start the stack and wait until it serves. Raises the error that prevented it."""
        self._thread.start()
        outcome = self._outcome.get()
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def stop(self) -> None:
        """Stop the stack and wait for its end."""
        self._interrupt.set()
        while self._thread.is_alive():
            self._thread.join(0.2)

    def _run(self) -> None:
        try:
            self._stack.run(self._outcome.put)
        except Exception as error:  # raised again in the main thread
            self._outcome.put(error)


def _on_signals(interrupt: Event, hurry: Event) -> None:
    """The first signal raises `Interrupted` in the main thread; the second one kills slow processes."""

    def handle(_number: int, _frame: FrameType | None) -> None:
        if interrupt.is_set():
            hurry.set()
        else:
            interrupt.set()
            raise Interrupted

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, handle)


def _show_logs(console: Console, logs: Path) -> None:
    for log in sorted(logs.glob("*.log")):
        if tail := log_tail(log, LOG_LINES):
            console.print(Text(f"── {log.name}", style="bold"))
            console.print(Text(tail), soft_wrap=True)
