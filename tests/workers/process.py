"""Real worker processes: `tunegate worker` as it runs in production, to be killed, stopped and revived."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from cli.supervisor import GUARD, log_tail
from service.settings import Settings
from tests.faults.processes import environment as environment
from tests.stack import ROOT
from tests.workers.harness import DEADLINE_SECONDS, eventually


class WorkerProcess:
    """One worker. `fault_point` is where it gets a signal from its own hand (see `service/fault_points.py`)."""

    def __init__(
        self, settings: Settings, folder: Path, *, fault_point: str = "", fault_signal: str = "SIGKILL"
    ) -> None:
        self.log = folder / "worker.log"
        env = environment(settings) | {"TUNEGATE_FAULT_POINT": fault_point, "TUNEGATE_FAULT_SIGNAL": fault_signal}
        command = [sys.executable, "-m", "cli", "worker"]
        guard = [sys.executable, "-I", "-S", str(GUARD), "--parent", str(os.getpid()), "--", *command]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(guard, cwd=ROOT, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    async def __aenter__(self) -> "WorkerProcess":
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait(DEADLINE_SECONDS)

    async def killed(self) -> None:
        """Wait until it has died by SIGKILL."""
        await eventually(lambda: self._process.poll() is not None, about="nothing killed it")
        assert self._process.returncode == -signal.SIGKILL, self.output()

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
