"""Supervises programs: starts them, restarts them when they end, and stops them in order.

One thread uses a `Supervisor` from its first start to its last stop, because the kernel ties a child's death signal to
the *thread* that made it. Every program runs in a session of its own, so that Ctrl-C in the terminal reaches only the
supervisor, which then stops the programs in order.
"""

import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event

GUARD = Path(__file__).with_name("guard.py")
TICK_SECONDS = 0.05
STEADY_SECONDS = 5.0
"""A program that ran for this time is not in a crash loop."""

RESTART_DELAYS_SECONDS = (0.0, 0.1, 0.3, 0.6, 1.0)
"""Delays before restarts, by the number of early deaths in a row. The last is below the documented two seconds."""

MAX_EARLY_DEATHS = 4
"""Early deaths in a row after which a start fails, and a running stack reports a crash loop."""

LOG_TAIL_LINES = 15


class ProgramFailed(Exception):
    """A program did not start or become ready in time; the message shows the end of its log."""


class Interrupted(Exception):
    """A stop was requested during a wait."""


@dataclass(frozen=True, kw_only=True)
class Program:
    """A program to run, and how to stop it. `ready` checks whether the running program serves."""

    name: str
    command: Sequence[str]
    log: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    guard_options: Sequence[str] = ()
    pass_fds: Sequence[int] = ()
    stop_signal: signal.Signals = signal.SIGTERM
    stop_seconds: float = 10.0
    death_signal: signal.Signals = signal.SIGKILL
    before_start: Callable[[], None] | None = None
    ready: Callable[[], bool] | None = None


@dataclass
class _Running:
    program: Program
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    start_due_at: float = 0.0
    early_deaths: int = 0


def restart_delay_seconds(early_deaths: int) -> float:
    """The delay before the next start, by the number of early deaths in a row."""
    return RESTART_DELAYS_SECONDS[min(early_deaths, len(RESTART_DELAYS_SECONDS) - 1)]


def log_tail(path: Path, lines: int = LOG_TAIL_LINES) -> str:
    """The last lines of a log, for a message."""
    try:
        with path.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - 64 * 1024))
            text = file.read().decode(errors="replace")
    except FileNotFoundError:
        return ""
    return "\n".join(deque(text.splitlines(), maxlen=lines))


class Supervisor:
    """Runs and restarts programs.

    `on_change` is called after each change of a pid, `say` with each message for the user. Setting `interrupt` ends
    every wait; setting `hurry` too makes `stop` kill programs that have not ended yet.
    """

    def __init__(
        self, *, on_change: Callable[[], None], say: Callable[[str], None], interrupt: Event, hurry: Event
    ) -> None:
        self._on_change = on_change
        self._say = say
        self._interrupt = interrupt
        self._hurry = hurry
        self._programs: dict[str, _Running] = {}

    def pids(self) -> dict[str, int]:
        """The pid of every running program."""
        return {name: run.process.pid for name, run in self._programs.items() if run.process is not None}

    def start(self, program: Program) -> None:
        """Start a program; from then on, `tick` restarts it whenever it ends."""
        self._programs[program.name] = run = _Running(program)
        self._spawn(run)

    def wait_ready(self, *names: str, timeout_seconds: float) -> None:
        """Supervise until all of these programs are ready.

        Raises `ProgramFailed` when one ends repeatedly or is not ready in time, `Interrupted` when a stop is requested.
        """
        deadline = time.monotonic() + timeout_seconds
        waiting = list(names)
        while waiting:
            if self._interrupt.is_set():
                raise Interrupted
            self.tick()
            waiting = [name for name in waiting if not self._is_ready(name)]
            for run in (self._programs[name] for name in waiting):
                if run.early_deaths >= MAX_EARLY_DEATHS:
                    raise ProgramFailed(_failure_text(run.program, f"ended {run.early_deaths} times while starting"))
                if time.monotonic() > deadline:
                    raise ProgramFailed(
                        _failure_text(run.program, f"did not get ready in {timeout_seconds:.0f} seconds")
                    )
            if waiting:
                time.sleep(TICK_SECONDS)

    def tick(self) -> None:
        """Detect ended programs, and restart those that are due."""
        now = time.monotonic()
        changed = False
        for run in self._programs.values():
            if run.process is not None and _has_ended(run.process):
                self._handle_end(run, now)
            if run.process is None and now >= run.start_due_at:
                self._spawn(run)
                changed = True
        if changed:
            self._on_change()

    def run(self) -> None:
        """Tick until `interrupt` is set."""
        while not self._interrupt.wait(TICK_SECONDS):
            self.tick()

    def stop(self, *order: Sequence[str]) -> None:
        """Stop the named programs, group by group."""
        for names in order:
            runs = [run for name in names if (run := self._programs.pop(name, None)) and run.process is not None]
            for run in runs:
                _signal(run.process, run.program.stop_signal)
                _signal(run.process, signal.SIGCONT)  # a suspended process would not handle it
            for run in runs:
                _end(run, self._hurry)

    def _spawn(self, run: _Running) -> None:
        program = run.program
        if program.before_start is not None:
            program.before_start()
        death = ["--parent", str(os.getpid()), "--death-signal", str(int(program.death_signal))]
        guard = [sys.executable, "-I", "-S", str(GUARD), *death, *program.guard_options, "--", *program.command]
        with program.log.open("ab") as log:
            run.process = subprocess.Popen(
                guard,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=dict(program.environment),
                pass_fds=tuple(program.pass_fds),
                start_new_session=True,
            )
        run.started_at = time.monotonic()

    def _handle_end(self, run: _Running, now: float) -> None:
        assert run.process is not None
        lived_seconds = now - run.started_at
        _kill_session(run.process)
        status = run.process.wait()
        run.process = None
        run.early_deaths = 0 if lived_seconds >= STEADY_SECONDS else run.early_deaths + 1
        run.start_due_at = now + restart_delay_seconds(max(0, run.early_deaths - 1))
        if run.early_deaths == MAX_EARLY_DEATHS:
            self._say(
                _failure_text(
                    run.program, f"ended {run.early_deaths} times in a row, at last {_exit_text(status)}; retrying"
                )
            )
        elif run.early_deaths < MAX_EARLY_DEATHS:
            self._say(f"{run.program.name} ended {_exit_text(status)}, starting it again")

    def _is_ready(self, name: str) -> bool:
        run = self._programs[name]
        return run.process is not None and (run.program.ready is None or run.program.ready())


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    """Whether the process has ended, without reaping it: until then its session id cannot be reused."""
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _kill_session(process: subprocess.Popen[bytes]) -> None:
    """Kill what an ended program left in its process group, such as the processes of a pool."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):  # macOS: EPERM for a group of zombies
        return


def _signal(process: subprocess.Popen[bytes] | None, number: signal.Signals) -> None:
    if process is not None and not _has_ended(process):
        os.kill(process.pid, number)


def _end(run: _Running, hurry: Event) -> None:
    assert run.process is not None
    deadline = time.monotonic() + run.program.stop_seconds
    while not _has_ended(run.process) and time.monotonic() < deadline and not hurry.is_set():
        time.sleep(TICK_SECONDS / 5)
    _signal(run.process, signal.SIGKILL)
    while not _has_ended(run.process):
        time.sleep(TICK_SECONDS / 5)
    _kill_session(run.process)
    run.process.wait()


def _exit_text(status: int) -> str:
    if status >= 0:
        return f"with status {status}"
    return f"by {signal.Signals(-status).name}"


def _failure_text(program: Program, what: str) -> str:
    tail = log_tail(program.log)
    return f"{program.name} {what}. The end of {program.log}:\n{tail}" if tail else f"{program.name} {what}."
