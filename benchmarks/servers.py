"""What benchmarks over HTTP share: the servers, and programs in processes of their own that are measured.

PostgreSQL and Valkey are those of the tests (PostgreSQL does not wait for the disk). An API is `tunegate serve` as it is
deployed; what it is compared with is an ASGI app of the benchmark, served by uvicorn with the same options.
"""

from __future__ import annotations

import base64
import multiprocessing
import os
import secrets
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import httpx2

from cli.embedded import OWNER, SERVICE
from service.settings import Settings
from tests.faults.processes import Process, Program, environment
from tests.stack import ROOT, Servers, running_servers

READY_SECONDS = 60.0
MANY_REQUESTS = 100_000_000
"""A limit of requests a minute that is counted and never reached."""


@dataclass(frozen=True, slots=True)
class Served:
    """A program that serves HTTP: its address without a path, and the pids of its processes."""

    url: str
    pids: tuple[int, ...]

    def cpu_seconds(self) -> float:
        """The CPU time that its processes have used."""
        return sum(map(cpu_seconds, self.pids))

    def memory_mb(self) -> float:
        """The resident memory of its processes, in MB of a million bytes."""
        return sum(map(memory_mb, self.pids))


@contextmanager
def migrated_database(**settings: Any) -> Iterator[tuple[Servers, Settings]]:
    """The servers with an empty database, and the settings of a gateway on it; `settings` replaces some of them."""
    with running_servers() as servers, servers.fresh_database() as name, tempfile.TemporaryDirectory() as folder:
        defaults = {
            "database_url": servers.postgres.url(SERVICE, name),
            "owner_database_url": servers.postgres.url(OWNER, name),
            "redis_url": servers.valkey.url,
            "upstream_base_url": "http://127.0.0.1:1/v1",
            "upstream_api_key": "none",
            "storage_url": f"file://{folder}",
            "master_key": base64.b64encode(secrets.token_bytes(32)).decode(),
            "requests_per_minute": MANY_REQUESTS,
            "log_level": "error",
        }
        yield servers, Settings(**(defaults | settings))


@contextmanager
def running_api(settings: Settings, *options: str) -> Iterator[Served]:
    """`tunegate serve` with these options. Raises `SystemExit` with its log if it does not become ready."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    listener.set_inheritable(True)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "api.log"
        command = ["tunegate", "serve", "--fd", str(listener.fileno()), *options]
        program = Program(
            name="api",
            command=[str(ROOT / ".venv/bin" / command[0]), *command[1:]],
            environment=environment(settings),
            log=log,
            pass_fds=(listener.fileno(),),
        )
        process = Process(program).start()
        try:
            _wait_for(f"{url}/readyz", process)
            yield Served(url, (process.pid, *_descendants(process.pid)))
        finally:
            process.kill()
            listener.close()


@contextmanager
def running_app(create: Callable[..., Any], *arguments: Any) -> Iterator[Served]:
    """The ASGI app that `create(*arguments)` returns, served by uvicorn in a process of its own. Both are pickled."""
    context = multiprocessing.get_context("spawn")
    mine, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, create, arguments), daemon=True)
    process.start()
    try:
        yield Served(f"http://127.0.0.1:{mine.recv()}", (process.pid or 0,))
    finally:
        process.terminate()
        process.join()


def postgres_cpu_seconds(servers: Servers) -> float:
    """The CPU time that PostgreSQL's processes have used, without that of connections which have ended."""
    postmaster = int((servers.postgres.data / "postmaster.pid").read_text().split("\n")[0])
    return sum(map(cpu_seconds, (postmaster, *_descendants(postmaster))))


def cpu_seconds(pid: int) -> float:
    """The CPU time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def family_cpu_seconds(pid: int) -> float:
    """The CPU time that a process and all of its children have used, those that have ended included."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    ended_children = (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")
    return cpu_seconds(pid) + ended_children + sum(map(cpu_seconds, _descendants(pid)))


def memory_mb(pid: int) -> float:
    """The resident memory of a process, in MB of a million bytes."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def _descendants(pid: int) -> tuple[int, ...]:
    children = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return (*children, *(further for child in children for further in _descendants(child)))


def _wait_for(url: str, process: Process) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while True:
        try:
            if httpx2.get(url).status_code == 200:
                return
        except httpx2.HTTPError:
            pass
        if not process.alive or time.monotonic() > deadline:
            raise SystemExit(f"the API does not become ready:\n{process.output()}")
        time.sleep(0.02)


def _serve(pipe: Connection, create: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    import uvicorn

    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    pipe.send(listener.getsockname()[1])
    config = uvicorn.Config(create(*arguments), loop="uvloop", http="httptools", access_log=False, log_config=None)
    uvicorn.Server(config).run(sockets=[listener])
