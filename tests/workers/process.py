"""Worker processes to be killed, stopped and revived: forks that run what `tunegate worker` runs after its imports."""

import signal
from pathlib import Path

from cli.supervisor import log_tail
from service.settings import Settings
from tests.faults.fork_server import fork_server
from tests.faults.processes import environment as environment
from tests.workers.harness import DEADLINE_SECONDS, eventually


class WorkerProcess:
    """One worker. `fault_point` is where it sends itself `fault_signal` (see `service/fault_points.py`)."""

    def __init__(
        self,
        settings: Settings,
        folder: Path,
        *,
        fault_point: str = "",
        fault_signal: str = "SIGKILL",
        grace_seconds: float | None = None,
    ) -> None:
        self.log = folder / "worker.log"
        env = environment(settings) | {"TUNEGATE_FAULT_POINT": fault_point, "TUNEGATE_FAULT_SIGNAL": fault_signal}
        self._process = fork_server().start("worker", env, self.log, grace_seconds=grace_seconds)

    async def __aenter__(self) -> "WorkerProcess":
        return self

    async def __aexit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(DEADLINE_SECONDS)

    @property
    def pid(self) -> int:
        """Its pid."""
        return self._process.pid

    async def killed(self) -> None:
        """Wait until it has died by SIGKILL."""
        await eventually(lambda: self._process.poll() is not None, about="nothing killed it")
        assert self._process.returncode == -signal.SIGKILL, self.output()

    async def ended(self) -> None:
        """Wait until it has ended by itself."""
        await eventually(lambda: self._process.poll() is not None, about="it does not end")
        assert self._process.returncode == 0, self.output()

    async def logged(self, event: str) -> None:
        """Wait until its log has an event."""
        await eventually(lambda: self.log.exists() and event in self.log.read_text(), about=f"it does not log {event}")

    async def stopped(self) -> None:
        """Wait until it stands still by SIGSTOP."""
        await eventually(lambda: self._state() == "T", about="nothing stopped it")

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def output(self) -> str:
        """The end of its log."""
        return log_tail(self.log, 40)

    def _state(self) -> str:
        return Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()[0]
