"""Real processes to be killed, stopped and started again. Each ends with the process that started it."""

import asyncio
import dataclasses
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from cli.embedded import Postgres, Valkey
from cli.supervisor import GUARD, Program, log_tail
from service.settings import Settings
from tests.faults.fork_server import ForkedProcess, fork_server
from tests.stack import ROOT

READY_SECONDS = 120.0
CHECK_SECONDS = 0.02
ASK_SECONDS = 0.2
"""How often a condition is checked; one that queries another process is checked less often."""


class Process:
    """One program, started as often as it is killed."""

    def __init__(self, program: Program) -> None:
        self.name = program.name
        self._program = program
        self._running: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Its pid. Raises `RuntimeError` when it was never started."""
        if self._running is None:
            raise RuntimeError(f"{self.name} was not started")
        return self._running.pid

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._running is not None and self._running.poll() is None

    def start(self, extra: Mapping[str, str] | None = None) -> "Process":
        """Start it, with more variables for this once."""
        program = self._program
        if program.before_start is not None:
            program.before_start()
        guard = [sys.executable, "-I", "-S", str(GUARD), "--parent", str(os.getpid()), *program.guard_options, "--"]
        with program.log.open("ab") as log:
            self._running = subprocess.Popen(
                [*guard, *program.command],
                cwd=ROOT,
                env={**program.environment, **(extra or {})},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=tuple(program.pass_fds),
            )
        return self

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, if it runs."""
        if self.alive and self._running is not None:
            self._running.send_signal(number)

    def kill(self) -> None:
        """End it with SIGKILL and wait until it is gone."""
        self.signal(signal.SIGKILL)
        if self._running is not None:
            self._running.wait(READY_SECONDS)

    async def ended(self, within_seconds: float = READY_SECONDS) -> int:
        """Wait for its end: its exit status, negative for a signal. Raises `AssertionError` after the time."""
        running = self._running
        if running is None:
            raise RuntimeError(f"{self.name} was not started")
        await wait_until(lambda: running.poll() is not None, within_seconds, f"{self.name} does not end")
        return running.returncode

    async def stopped(self) -> None:
        """Wait until it stands still by SIGSTOP."""
        await wait_until(lambda: _state(self.pid) == "T", READY_SECONDS, f"nothing stopped {self.name}")

    async def ready(self) -> None:
        """Wait until it serves, starting it again if it ends meanwhile, as Postgres does beside a dying self."""
        program = self._program

        async def serves() -> bool:
            if not self.alive:
                self.start()
            return program.ready is None or await asyncio.to_thread(program.ready)

        await wait_until(serves, READY_SECONDS, f"{self.name} does not get ready:\n{self.output()}")

    def output(self, lines: int = 40) -> str:
        """The end of its log."""
        return log_tail(self._program.log, lines)


class Forked:
    """An API or a worker, started as often as it is killed, each time by a fork that has the imports done."""

    def __init__(
        self, role: str, settings: Settings, log: Path, name: str, listener: socket.socket | None = None
    ) -> None:
        self.name = name
        self._role, self._environment, self._log, self._listener = role, environment(settings), log, listener
        self._running: ForkedProcess | None = None

    @property
    def pid(self) -> int:
        """Its pid. Raises `RuntimeError` when it was never started."""
        return self._started().pid

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._running is not None and self._running.alive

    def start(self, extra: Mapping[str, str] | None = None, *, end_seconds: float | None = None) -> "Forked":
        """Start it, with more variables for this once. `end_seconds`: how long a worker takes to end at most."""
        self._running = fork_server().start(
            self._role,
            {**self._environment, **(extra or {})},
            self._log,
            listener=None if self._listener is None else self._listener.fileno(),
            end_seconds=end_seconds,
        )
        return self

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, if it runs."""
        if self._running is not None:
            self._running.send_signal(number)

    def kill(self) -> None:
        """End it with SIGKILL and wait until it is gone."""
        if self._running is not None:
            self._running.kill()

    async def ended(self, within_seconds: float = READY_SECONDS) -> int:
        """Wait for its end: its exit status, negative for a signal. Raises `AssertionError` after the time."""
        running = self._started()
        await wait_until(lambda: not running.alive, within_seconds, f"{self.name} does not end")
        return running.wait(0.0)

    async def stopped(self) -> None:
        """Wait until it stands still by SIGSTOP."""
        await wait_until(lambda: _state(self.pid) == "T", READY_SECONDS, f"nothing stopped {self.name}")

    async def ready(self) -> None:
        """Start it again if it has ended meanwhile."""
        if not self.alive:
            self.start()

    def output(self, lines: int = 40) -> str:
        """The end of its log."""
        return log_tail(self._log, lines)

    def _started(self) -> ForkedProcess:
        if self._running is None:
            raise RuntimeError(f"{self.name} was not started")
        return self._running


async def wait_until(
    condition: Callable[[], bool] | Callable[[], Awaitable[bool]], within_seconds: float, about: str
) -> None:
    """Wait until the condition holds. Raises `AssertionError` after the time."""
    deadline = asyncio.get_running_loop().time() + within_seconds
    while True:
        held = condition()
        here = isinstance(held, bool)
        if held if isinstance(held, bool) else await held:
            return
        assert asyncio.get_running_loop().time() < deadline, about
        await asyncio.sleep(CHECK_SECONDS if here else ASK_SECONDS)


def environment(settings: Settings) -> dict[str, str]:
    """The variables that make these settings again."""
    env = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "SSL_CERT_FILE") if name in os.environ}
    for spec in dataclasses.fields(settings):
        value = getattr(settings, spec.name)
        match value:
            case bool():
                env[spec.metadata["env"]] = str(value).lower()
            case tuple():
                env[spec.metadata["env"]] = ",".join(str(part) for part in value)
            case _:
                env[spec.metadata["env"]] = str(value)
    return env


def api(settings: Settings, folder: Path, listener: socket.socket, name: str = "api") -> "Forked":
    """`tunegate serve` on a socket that the test keeps: who connects while it is dead waits for the next one."""
    return Forked("api", settings, folder / f"{name}.log", name, listener)


def worker(settings: Settings, folder: Path, name: str = "worker") -> "Forked":
    """`tunegate worker`."""
    return Forked("worker", settings, folder / f"{name}.log", name)


def postgres(server: Postgres, folder: Path) -> Process:
    """PostgreSQL on its folder."""
    return Process(server.program(folder / "postgres.log"))


def redis(server: Valkey, folder: Path) -> Process:
    """Valkey."""
    return Process(server.program(folder / "redis.log"))


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
