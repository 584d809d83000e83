"""`tunegate demo`: runs a demo on a stack in a temporary folder, and removes the folder afterwards.

It always uses the trainer and embedded servers, regardless of the caller's environment, so that it cannot spend money.
"""

import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from queue import Queue
from threading import Event, Thread
from types import FrameType

import openai
from rich.console import Console
from rich.text import Text

from cli.demo import byte_story, llm_story, weights
from cli.demo.steps import EXAMPLES, DemoFailed, report_step
from cli.dev import START_ERRORS, SteadyConsole, exit_status
from cli.stack import Ready, Stack, StackOptions
from cli.supervisor import Interrupted, log_tail
from cli.trainer_engine import BYTE_MODEL, TrainerEngine, chosen_engine

PACE_SECONDS = "0.1"
"""The minimum time of a training step, so that the progress is visible: 192 steps take 20 seconds."""

FAILURES = (*START_ERRORS, DemoFailed, openai.OpenAIError, OSError)
LOG_LINES = 8

Story = Callable[[Ready, Console], None]


def run_demo(data_dir: Path | None) -> int:
    """Run the demo of the byte model. Returns 0 on success, 1 on failure, 130 after an interruption."""

    def run(console: Console, interruption: "_Interruption") -> int:
        paced = {"TRAINER_PACE_SECONDS": PACE_SECONDS}
        return _run(console, interruption, data_dir, BYTE_MODEL, byte_story.run_story, paced)

    return _interruptible(run)


def run_llm_demo(data_dir: Path | None, models: Path) -> int:
    """Run the demo of the language model, which is converted into the folder `models` at the first run.

    Returns as `run_demo`. Raises SettingsError when something is not installed.
    """

    def run(console: Console, interruption: "_Interruption") -> int:
        weights.prepare(models, console)
        engine = chosen_engine({}, engine="transformers", models=models)
        return _run(console, interruption, data_dir, engine, llm_story.run_story, {})

    return _interruptible(run)


@dataclass(frozen=True)
class _Interruption:
    """`interrupt` is set by the first signal, `hurry` by the second."""

    interrupt: Event = field(default_factory=Event)
    hurry: Event = field(default_factory=Event)


def _interruptible(run: Callable[[Console, _Interruption], int]) -> int:
    console, interruption = SteadyConsole(highlight=False), _Interruption()
    if not EXAMPLES.is_dir():
        console.print(f"The demo needs the folder {EXAMPLES}: run it from a checkout.", style="red")
        return 1
    _on_signals(interruption)
    try:
        return run(console, interruption)
    except Interrupted:
        console.print("interrupted", style="dim")
        return 130


def _run(
    console: Console,
    interruption: _Interruption,
    data_dir: Path | None,
    engine: TrainerEngine,
    story: Story,
    environ: Mapping[str, str],
) -> int:
    folder = data_dir.absolute() if data_dir else Path(tempfile.mkdtemp(prefix="tunegate-demo-"))
    plan = StackOptions(
        environ={**environ, **{name: value for name, value in os.environ.items() if not name.startswith("TUNEGATE_")}},
        data_dir=folder,
        port=0,
        engine=engine,
        always_trainer=True,
        always_embedded=True,
    )
    keep = data_dir is not None
    try:
        _serve(console, _Background(plan, interruption), story)
    except FAILURES as error:
        console.print(Text.assemble(("✗ ", "bold red"), str(error)), soft_wrap=True)
        _show_logs(console, folder / "logs")
        console.print(f"{folder} keeps everything.", style="dim")
        keep = True
        return exit_status(error) if isinstance(error, START_ERRORS) else 1
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)
    return 0


def _serve(console: Console, background: "_Background", story: Story) -> None:
    began = time.monotonic()
    try:
        with console.status("Starting PostgreSQL, Valkey, the trainer, the API and a worker"):
            ready = background.start()
        report_step(
            console,
            f"Tunegate serves at {ready.base_url}",
            f"PostgreSQL, Valkey, the trainer, the API and a worker, started in {time.monotonic() - began:.1f} s",
        )
        story(ready, console)
    finally:
        with console.status("Stopping"):
            background.stop()


class _Background:
    """A stack in a thread of its own, which starts, supervises and stops it; the demo runs in the main thread."""

    def __init__(self, plan: StackOptions, interruption: _Interruption) -> None:
        self._interrupt = interruption.interrupt
        self._stack = Stack(plan, say=lambda _: None, interrupt=self._interrupt, hurry=interruption.hurry)
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


def _on_signals(interruption: _Interruption) -> None:
    """The first signal raises `Interrupted` in the main thread; the second one kills slow processes."""

    def handle(_number: int, _frame: FrameType | None) -> None:
        if interruption.interrupt.is_set():
            interruption.hurry.set()
        else:
            interruption.interrupt.set()
            raise Interrupted

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, handle)


def _show_logs(console: Console, logs: Path) -> None:
    for log in sorted(logs.glob("*.log")):
        if tail := log_tail(log, LOG_LINES):
            console.print(Text(f"── {log.name}", style="bold"))
            console.print(Text(tail), soft_wrap=True)
