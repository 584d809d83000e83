"""Forks worker and API processes from one process that has the imports done, which take a second and more.

`python -m tests.faults.fork_server FD` takes requests on a Unix socket: JSON (`{"role": "worker" | "api",
"environment": {...}, "log": path, "hurried": bool, "grace_seconds": float, "end_seconds": float}`) with one end of a
pipe and, for an API, its listening socket. For each it starts a child that runs what `tunegate worker` or
`tunegate serve` runs after its imports, answers with the pid, and writes the exit status into the pipe when the child
has ended. It ends, with all its children, when the process that started it does.

A hurried worker is for runs that kill hundreds of them. It differs from production in how long it waits: it does not
start a process for datasets ahead, those processes run at the priority of everything else, and the periodic tasks run
soon in a worker that nothing kills, and at once in one that a fault point in them is to kill.
"""

import asyncio
import atexit
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.stack import ROOT

AT_ONCE_SECONDS, SOON_SECONDS = 0.3, 1.5
"""Periods of the periodic tasks in a hurried worker."""

PERIODIC = {
    "storage_cleanup": "storage_cleanup.",
    "orphaned_upstream_jobs": "orphan.",
    "abandoned_reservations": "inference.",
}
"""Periodic tasks that are hurried, and how the fault points in them begin."""

NAME_SERVER = "TESTS_NAME_SERVER_PORT"
"""The variable that names the port of a name server of the test's, which all look-ups of the process ask."""

MAX_MESSAGE_BYTES = 200_000

_pipes: dict[int, int] = {}
"""The pipe of each child that runs, in the fork server."""


def main() -> None:
    """Fork on request until the other end of the socket is closed."""
    import gc

    import uvicorn  # noqa: F401
    import uvloop  # noqa: F401

    import cli.commands.serve  # noqa: F401
    import service.app  # noqa: F401
    import workers.main  # noqa: F401
    from service.database.schema import head

    head()
    gc.freeze()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, _report_ended)
    requests = socket.socket(fileno=int(sys.argv[1]))
    requests.send(b"{}")
    while True:
        message, fds, _, _ = socket.recv_fds(requests, MAX_MESSAGE_BYTES, 2)
        if not message:
            return
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
        child = os.fork()
        if child == 0:
            requests.close()
            _become(json.loads(message), *fds)
        _pipes[child] = fds[0]
        for fd in fds[1:]:
            os.close(fd)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])
        requests.send(json.dumps({"pid": child}).encode())


def _report_ended(*_: object) -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        pipe = _pipes.pop(pid)
        os.write(pipe, str(os.waitstatus_to_exitcode(status)).encode())
        os.close(pipe)


def _become(request: dict[str, Any], pipe: int, listener: int = -1) -> None:
    from cli.guard import die_with_parent

    status = 1
    try:
        for fd in (pipe, *_pipes.values()):
            os.close(fd)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])
        die_with_parent(os.getppid(), signal.SIGKILL)
        log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.environ.clear()
        os.environ.update(request["environment"])
        _arm_fault_point()
        _ask_the_test_s_name_server()
        if request["role"] == "worker":
            _work(
                hurried=request["hurried"],
                grace_seconds=request["grace_seconds"],
                end_seconds=request["end_seconds"],
            )
        else:
            _serve(listener, grace_seconds=request["grace_seconds"])
        status = 0
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _arm_fault_point() -> None:
    """As the import of the module does it."""
    from service import fault_points

    fault_points._NAME, _, fault_points._NTH = os.environ.get("TUNEGATE_FAULT_POINT", "").partition(":")
    fault_points._SIGNAL = signal.Signals[os.environ.get("TUNEGATE_FAULT_SIGNAL") or "SIGKILL"]


def _ask_the_test_s_name_server() -> None:
    port = os.environ.get(NAME_SERVER)
    if port is not None:
        from service.egress.resolver import Resolver
        from tests.egress.name_server import NameServer

        Resolver.__init__.__defaults__ = (NameServer([], int(port)).lookup,)


def _work(*, hurried: bool, grace_seconds: float | None, end_seconds: float | None) -> None:
    import uvloop

    from service.settings import Settings
    from workers.main import END_SECONDS, GRACE_SECONDS, run
    from workers.maintenance.leader import RETRY_SECONDS
    from workers.maintenance.tasks import periodic_tasks

    if hurried:
        _do_not_wait_for_dataset_processes()
    uvloop.run(
        run(
            Settings.from_env(os.environ),
            tasks=_hurried_tasks if hurried else periodic_tasks,
            election_retry_seconds=AT_ONCE_SECONDS if hurried else RETRY_SECONDS,
            grace_seconds=GRACE_SECONDS if grace_seconds is None else grace_seconds,
            end_seconds=END_SECONDS if end_seconds is None else end_seconds,
        )
    )


def _do_not_wait_for_dataset_processes() -> None:
    from workers import dataset_processes

    async def not_ahead(self: dataset_processes.DatasetProcesses) -> None:
        return

    dataset_processes.DatasetProcesses.warm = not_ahead  # type: ignore[method-assign]
    dataset_processes.PROGRAM = "tests.faults.eager"


def _hurried_tasks(ctx: Any) -> Any:
    import dataclasses

    from workers.maintenance.tasks import periodic_tasks

    point = os.environ.get("TUNEGATE_FAULT_POINT", "")
    period = AT_ONCE_SECONDS if point else SOON_SECONDS
    return [
        dataclasses.replace(task, every_seconds=period)
        if task.name in PERIODIC and (not point or point.startswith(PERIODIC[task.name]))
        else task
        for task in periodic_tasks(ctx)
    ]


def _serve(listener: int, *, grace_seconds: float | None) -> None:
    from cli.commands import serve

    if grace_seconds is not None:
        serve.GRACEFUL_SHUTDOWN_SECONDS = grace_seconds  # type: ignore[assignment]
    serve.serve(fd=listener)


class ForkServer:
    """The program, running."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            fd = theirs.fileno()
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.faults.fork_server", str(fd)], cwd=ROOT, pass_fds=[fd]
            )
        self._socket = ours
        self._answer()

    def start(
        self,
        role: str,
        environment: dict[str, str],
        log: Path,
        *,
        listener: int | None = None,
        hurried: bool = False,
        grace_seconds: float | None = None,
        end_seconds: float | None = None,
    ) -> "ForkedProcess":
        """A new process. `listener` is the socket of an API.

        `grace_seconds` is how long work may take after a stop signal, `end_seconds` when a worker ends by force.
        """
        request = {
            "role": role,
            "environment": environment,
            "log": str(log),
            "hurried": hurried,
            "grace_seconds": grace_seconds,
            "end_seconds": end_seconds,
        }
        status, theirs = os.pipe()
        try:
            fds = [theirs] if listener is None else [theirs, listener]
            socket.send_fds(self._socket, [json.dumps(request).encode()], fds)
        finally:
            os.close(theirs)
        return ForkedProcess(self._answer()["pid"], status)

    def stop(self) -> None:
        """End it and every child."""
        self._socket.close()
        self._process.kill()
        self._process.wait()

    def _answer(self) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self._socket.recv(MAX_MESSAGE_BYTES))
        return answer


_shared: ForkServer | None = None


def fork_server() -> ForkServer:
    """The fork server of this process, started when first asked for."""
    global _shared
    if _shared is None:
        _shared = ForkServer()
        atexit.register(_shared.stop)
    return _shared


@dataclass(slots=True)
class ForkedProcess:
    """A process that the fork server has started."""

    pid: int
    _status: int
    returncode: int | None = None

    def poll(self) -> int | None:
        """The exit status, negative for a signal; None while it runs."""
        return self._read(0.0)

    def wait(self, within_seconds: float) -> int:
        """Wait for its end: its exit status. Raises `TimeoutError` after the time."""
        status = self._read(within_seconds)
        if status is None:
            raise TimeoutError(f"process {self.pid} does not end")
        return status

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self.poll() is None

    def send_signal(self, number: signal.Signals) -> None:
        """Send it a signal, if it runs."""
        if self.alive:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it with SIGKILL, and wait until it is gone."""
        self.send_signal(signal.SIGKILL)
        self.wait(60.0)

    async def dead(self, within_seconds: float) -> bool:
        """Whether it ends within the time."""
        deadline = time.monotonic() + within_seconds
        while self.alive:
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(0.01)
        return True

    def _read(self, within_seconds: float) -> int | None:
        if self.returncode is None and select.select([self._status], [], [], within_seconds)[0]:
            reported = os.read(self._status, 16)
            os.close(self._status)
            self.returncode = int(reported) if reported else -signal.SIGKILL  # none from a fork server that was killed
        return self.returncode


if __name__ == "__main__":
    main()
