"""Lives of our processes at the price of a fork: for runs that kill a worker or an API hundreds of times.

`python -m tests.faults.fork_server` imports everything once. Each line of JSON on its input,
`{"role": "worker" | "api", "environment": {...}, "log": path, "fd": listener}`, starts a child that runs what
`tunegate worker` or `tunegate serve` runs after its imports; the pid is the answer. It reaps its children and ends,
with all of them, when its input does.

Three things differ from production, all of them waits: a worker does not start its first validator ahead, validators
run at the priority of everything else, and the sweep for strays, the janitor and the look for orphaned calls come round
soon in a life that nothing kills, and at once in one that is to die in them.
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.stack import ROOT

CHORES = {"JANITOR_SECONDS": "janitor.", "MIN_SWEEP_SECONDS": "stray.", "ORPHANS_SECONDS": "inference."}
"""The pauses of `workers.main` between chores, and how the fault points in them begin."""

AT_ONCE_SECONDS, SOON_SECONDS = 0.3, 1.5


def main() -> None:
    """Fork on command until the input ends."""
    import uvicorn  # noqa: F401
    import uvloop  # noqa: F401

    import service.app  # noqa: F401
    import workers.main  # noqa: F401
    from service.database.migrations import head

    head()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps; the parent looks at /proc
    print("{}", flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        child = os.fork()
        if child == 0:
            _live(asked)
        print(json.dumps({"pid": child}), flush=True)


def _live(asked: dict[str, Any]) -> None:
    from cli.guard import _die_with_parent

    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    _die_with_parent(os.getppid(), signal.SIGKILL)
    log = os.open(asked["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.environ.clear()
    os.environ.update(asked["environment"])
    _lend_a_hand(os.environ.get("TUNEGATE_FAULT_POINT", ""))
    status = 1
    try:
        _work() if asked["role"] == "worker" else _serve(asked["fd"])
        status = 0
    finally:
        os._exit(status)


def _lend_a_hand(point: str) -> None:
    from service import fault_points

    fault_points._WANTED, _, fault_points._NTH = point.partition(":")


def _work() -> None:
    import uvloop

    import workers.main
    from service.settings import Settings
    from workers import dataset_processes

    async def not_ahead(self: dataset_processes.DatasetProcesses) -> None:
        return

    dataset_processes.DatasetProcesses.warm = not_ahead  # type: ignore[method-assign]
    dataset_processes.PROGRAM = "tests.faults.eager"
    point = os.environ.get("TUNEGATE_FAULT_POINT", "")
    for pause, points in CHORES.items():
        if not point or point.startswith(points):
            setattr(workers.main, pause, AT_ONCE_SECONDS if point else SOON_SECONDS)
    uvloop.run(workers.main.run(Settings.from_env(os.environ)))


def _serve(fd: int) -> None:
    from cli.commands.serve import serve

    serve(fd=fd)


class Zygote:
    """The program, running, and a hand on it."""

    def __init__(self, fds: tuple[int, ...]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.fork_server"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=fds,
            text=True,
        )
        self._answer()

    def live(self, role: str, environment: dict[str, str], log: Path, *, fd: int = -1, point: str = "") -> "Life":
        """A new process; `point` is where it kills itself."""
        assert self._process.stdin is not None
        asked = {
            "role": role,
            "environment": {**environment, "TUNEGATE_FAULT_POINT": point},
            "log": str(log),
            "fd": fd,
        }
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        return Life(self._answer()["pid"])

    def stop(self) -> None:
        """End it and every child."""
        self._process.kill()
        self._process.communicate()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer


class Life:
    """One forked process."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        try:
            return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
        except OSError:
            return False

    def kill(self) -> None:
        """End it with SIGKILL."""
        if self.alive:
            os.kill(self.pid, signal.SIGKILL)

    async def dead(self, within_seconds: float) -> bool:
        """Whether it dies within the time."""
        deadline = asyncio.get_running_loop().time() + within_seconds
        while self.alive:
            if asyncio.get_running_loop().time() > deadline:
                return False
            await asyncio.sleep(0.01)
        return True


if __name__ == "__main__":
    main()
