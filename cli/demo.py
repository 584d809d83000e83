"""`tunegate demo`: a stack in a temporary folder, the story on top of it, and nothing left behind.

It always uses the trainer and embedded servers, whatever the caller's environment says: a demo must not spend.
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

from cli.demo_story import EXAMPLE, DemoFailed, done, tell
from cli.dev import START_ERRORS, SteadyConsole
from cli.stack import Plan, Ready, Stack
from cli.supervisor import Interrupted, log_tail

PACE_SECONDS = "0.1"
"""The least time of a training step, so that there is something to watch: 192 steps make 20 seconds."""

FAILURES = (*START_ERRORS, DemoFailed, openai.OpenAIError, OSError)
LOG_LINES = 8


def run_demo(data_dir: Path | None) -> int:
    """Run it: 0 when everything worked, 1 when something failed, 130 when it was interrupted."""
    console = SteadyConsole(highlight=False)
    if not EXAMPLE.is_dir():
        console.print(f"The demo needs the folder {EXAMPLE}: run it from a checkout.", style="red")
        return 1
    folder = data_dir.absolute() if data_dir else Path(tempfile.mkdtemp(prefix="tunegate-demo-"))
    interrupt, hurry = Event(), Event()
    _on_signals(interrupt, hurry)
    environ = {name: value for name, value in os.environ.items() if not name.startswith("TUNEGATE_")}
    plan = Plan(
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
        done(console, f"Tunegate serves at {ready.base_url}", f"{time.monotonic() - began:.1f} s from nothing")
        tell(ready, console)
    finally:
        with console.status("Stopping"):
            background.stop()


class _Background:
    """A stack in a thread of its own, which starts, watches and stops it; the main thread tells the story."""

    def __init__(self, stack: Stack, interrupt: Event) -> None:
        self._stack = stack
        self._interrupt = interrupt
        self._outcome: Queue[Ready | Exception] = Queue()
        self._thread = Thread(target=self._run, name="stack")

    def start(self) -> Ready:
        """Start and wait until it serves. Raises what kept it from starting."""
        self._thread.start()
        outcome = self._outcome.get()
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def stop(self) -> None:
        """Stop it and wait for the end."""
        self._interrupt.set()
        while self._thread.is_alive():
            self._thread.join(0.2)

    def _run(self) -> None:
        try:
            self._stack.run(self._outcome.put)
        except Exception as error:  # every one of them is raised again in the main thread
            self._outcome.put(error)


def _on_signals(interrupt: Event, hurry: Event) -> None:
    """The first signal breaks off whatever the main thread waits for; the second kills what is slow to end."""

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
