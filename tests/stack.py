"""The real things that tests run against: PostgreSQL and Valkey for all of a run, and whole `tunegate dev` stacks.

The servers are started once per run, by pytest's own process, and end with it even if it is killed. Every test that
asks for a database gets an empty one: a clone of a template that the migrations built, emptied after each test.
"""

import asyncio
import fcntl
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Coroutine, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any, TypeVar

import asyncpg

from cli.embedded import OWNER, SERVICE, SUPERUSER, Postgres, Valkey, execute, free_port
from cli.supervisor import GUARD, Supervisor, log_tail
from service.database.engine import SERVICE_ROLE
from service.settings import Settings

if TYPE_CHECKING:  # the SDK takes a second to import, and tests of pure rules do not need it
    import openai

ROOT = Path(__file__).resolve().parent.parent
HANDOVER = "TUNEGATE_TEST_SERVERS"
"""The variable by which pytest-xdist's controller tells its workers where the servers' folder is."""

TEMPLATE = "tunegate_template"
START_SECONDS = 120.0

QUICK = {
    "TUNEGATE_POLL_SECONDS": "0.2",
    "TUNEGATE_RECONCILE_SECONDS": "0.2",
    "TUNEGATE_SETTLE_SECONDS": "1",
    "TUNEGATE_LEASE_SECONDS": "5",
    "TUNEGATE_WEBHOOK_SCHEDULE": "0.2,0.2,0.5,1,2,5",
    "TRAINER_PACE_SECONDS": "0.02",
}
"""Time constants for a stack under test."""

T = TypeVar("T")


def run_async(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end from a fixture, without touching the event loop that pytest-asyncio keeps."""
    with ThreadPoolExecutor(max_workers=1) as thread:
        return thread.submit(asyncio.run, coroutine).result()


@dataclass(frozen=True, kw_only=True)
class Servers:
    """The run's PostgreSQL and Valkey."""

    folder: Path
    postgres: Postgres
    valkey: Valkey

    @classmethod
    def described_in(cls, folder: Path) -> "Servers":
        """The servers that another process runs in `folder`."""
        text = json.loads((folder / "servers.json").read_text())
        return cls(
            folder=folder,
            postgres=Postgres(
                folder=folder / "postgres", port=text["postgres_port"], passwords=text["passwords"], durable=False
            ),
            valkey=Valkey(folder=folder / "redis", port=text["redis_port"], password=text["redis_password"]),
        )

    @property
    def admin_url(self) -> str:
        """The superuser's URL, for making and dropping databases."""
        return self.postgres.url(SUPERUSER, "postgres")

    @contextmanager
    def fresh_database(self) -> Iterator[str]:
        """The name of a new, migrated database, dropped at the end."""
        self._ensure_template()
        name = f"test_{secrets.token_hex(6)}"
        run_async(
            execute(self.admin_url, f"CREATE DATABASE {name} TEMPLATE {TEMPLATE} OWNER {OWNER} STRATEGY FILE_COPY")
        )
        try:
            yield name
        finally:
            run_async(execute(self.admin_url, f"DROP DATABASE {name} WITH (FORCE)"))

    def reusable_databases(self) -> "ReusableDatabases":
        """Databases for tests that follow each other in this process."""
        return ReusableDatabases(self)

    def _ensure_template(self) -> None:
        made = self.folder / "template"
        if made.exists():
            return
        with (self.folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if made.exists():
                return
            _wait_until(self.postgres.program(self.folder / "postgres.log").ready)
            run_async(self.postgres.create_logins())
            run_async(execute(self.admin_url, f"CREATE DATABASE {TEMPLATE} OWNER {OWNER}"))
            owner_url = self.postgres.url(OWNER, TEMPLATE)
            settings = Settings(database_url=owner_url, owner_database_url=owner_url)
            from service.database.migrations import (
                upgrade,  # slow to import, and most runs of a few tests do not need it
            )

            with ThreadPoolExecutor(max_workers=1) as thread:
                thread.submit(upgrade, settings).result()
            run_async(self.postgres.grant_service_role(SERVICE_ROLE))
            made.touch()


class ReusableDatabases:
    """Databases that are emptied and used again, which takes a tenth of the time that making one takes.

    Between two tests every other session of the database is ended, every row is deleted, the rows of the migrations
    are put back, and sequences start anew. A database whose schema a test has changed is dropped; so is one that was
    used often, since each test leaves dead rows.
    """

    MAX_USES = 50

    def __init__(self, servers: Servers) -> None:
        self._servers = servers
        self._stack = ExitStack()
        self._name, self._uses = "", 0
        self._tables: list[str] = []
        self._seeds: list[tuple[str, str]] = []
        self._schema: object = None

    @contextmanager
    def database(self) -> Iterator[str]:
        """The name of a database with nothing in it but what the migrations put there."""
        if not self._name:
            self._name = self._stack.enter_context(self._servers.fresh_database())
            self._uses = 0
            run_async(self._learn())
        name, self._name = self._name, ""  # one that breaks on the way back is not used again
        yield name
        self._uses += 1
        if self._uses < self.MAX_USES and run_async(self._emptied(name)):
            self._name = name
        else:
            self._stack.close()

    def close(self) -> None:
        """Drop what is left."""
        self._stack.close()

    async def _connect(self, name: str) -> Any:
        return await asyncpg.connect(self._servers.postgres.url(SUPERUSER, name), timeout=60, command_timeout=60)  # type: ignore[no-untyped-call]

    async def _learn(self) -> None:
        connection = await self._connect(self._name)
        try:
            self._schema = await connection.fetch(_SCHEMA)
            self._tables = [row[0] for row in await connection.fetch(_TABLES)]
            self._seeds = [
                (table, row[0])
                for table in self._tables
                for row in await connection.fetch(f"SELECT to_jsonb(t)::text FROM {table} t")
            ]
        finally:
            await connection.close()

    async def _emptied(self, name: str) -> bool:
        """Empty it. False where its schema is no longer that of the migrations."""
        connection = await self._connect(name)
        try:
            await connection.fetch(_END_OTHER_SESSIONS)
            if await connection.fetch(_SCHEMA) != self._schema:
                return False
            async with connection.transaction():
                await connection.execute("SET LOCAL session_replication_role = replica")  # no triggers, no order
                await connection.execute(";".join(f"DELETE FROM {table}" for table in self._tables))
                for table, row in self._seeds:
                    await connection.execute(
                        f"INSERT INTO {table} SELECT * FROM jsonb_populate_record(NULL::{table}, $1::text::jsonb)", row
                    )
                await connection.fetch(_RESTART_SEQUENCES)
        finally:
            await connection.close()
        return True


_TABLES = "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY 1"
_SCHEMA = """
    SELECT (SELECT jsonb_agg(jsonb_build_array(attrelid, attname, atttypid, attnotnull) ORDER BY attrelid, attnum)
            FROM pg_attribute WHERE attrelid >= 16384 AND attnum > 0)::text,
        (SELECT sum(hashtext(pg_get_constraintdef(oid))) FROM pg_constraint WHERE oid >= 16384),
        (SELECT sum(hashtext(pg_get_triggerdef(oid))) FROM pg_trigger WHERE oid >= 16384),
        (SELECT count(*) FROM pg_policy), (SELECT count(*) FROM pg_proc WHERE oid >= 16384),
        (SELECT array_agg(relacl::text || relrowsecurity || relforcerowsecurity ORDER BY oid)
            FROM pg_class WHERE oid >= 16384)
"""
_END_OTHER_SESSIONS = """
    SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
"""
_RESTART_SEQUENCES = "SELECT setval(oid::regclass, 1, false) FROM pg_class WHERE relkind = 'S'"


@contextmanager
def running_servers() -> Iterator[Servers]:
    """Start both servers in a temporary folder and stop them at the end. Does not wait until they are up."""
    folder = Path(tempfile.mkdtemp(prefix="tunegate-tests-"))
    description = {
        "postgres_port": free_port(),
        "redis_port": free_port(),
        "passwords": {login: secrets.token_urlsafe(12) for login in (SUPERUSER, OWNER, SERVICE)},
        "redis_password": secrets.token_urlsafe(12),
    }
    (folder / "servers.json").write_text(json.dumps(description))
    servers = Servers.described_in(folder)
    supervisor = Supervisor(on_change=lambda: None, say=lambda _: None, interrupt=Event(), hurry=Event())
    try:
        supervisor.start(servers.valkey.program(folder / "redis.log"))
        servers.postgres.prepare()
        supervisor.start(servers.postgres.program(folder / "postgres.log"))
        yield servers
    finally:
        supervisor.stop(["redis", "postgres"])
        shutil.rmtree(folder, ignore_errors=True)


class DevStack:
    """A whole `tunegate dev` in a process of its own, as a user runs it."""

    def __init__(self, folder: Path, *, environment: Mapping[str, str] | None = None, port: int = 0) -> None:
        self.folder = folder
        self.port = port
        self.data = folder / "data"
        self.ready_file = folder / "ready.json"
        self.log = folder / "dev.log"
        self._environment = dict(environment or {})
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> "DevStack":
        """Start it and wait until it serves. Raises `AssertionError` with its output if it does not."""
        self.launch()
        deadline = time.monotonic() + START_SECONDS
        while not self.ready_file.exists():
            assert self._process is not None
            assert self._process.poll() is None, f"tunegate dev ended:\n{self.output()}"
            assert time.monotonic() < deadline, f"tunegate dev did not get ready:\n{self.output()}"
            time.sleep(0.02)
        return self

    def launch(self) -> None:
        """Start it without waiting. It ends with this process, whatever happens."""
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "SSL_CERT_FILE") if name in os.environ}
        where = ["--port", str(self.port), "--data-dir", str(self.data), "--ready-file", str(self.ready_file)]
        dev = ["-m", "cli", "dev", *where]
        guard = [sys.executable, "-I", "-S", str(GUARD), "--parent", str(os.getpid()), "--", sys.executable, *dev]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                guard, cwd=ROOT, env=kept | QUICK | self._environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def ready(self) -> dict[str, Any]:
        """The ready file as it is now."""
        parsed: dict[str, Any] = json.loads(self.ready_file.read_text())
        return parsed

    def pid(self, name: str) -> int:
        """The pid of one part as the ready file has it now."""
        value = self.ready()["pids"][name]
        return int(value)

    @property
    def own_pid(self) -> int:
        """The pid of `tunegate dev` itself."""
        assert self._process is not None
        return self._process.pid

    def client(self, *, admin: bool = False) -> "openai.OpenAI":
        """The official SDK on this stack, without retries of its own."""
        import openai

        ready = self.ready()
        key = ready["admin_key"] if admin else ready["api_key"]
        return openai.OpenAI(
            base_url=ready["base_url"], api_key=key, admin_api_key=ready["admin_key"], max_retries=0, timeout=90
        )

    def output(self) -> str:
        """The end of what it printed."""
        return log_tail(self.log, 60)

    def wait(self, timeout_seconds: float = 90.0) -> int:
        """Wait for its end: its exit status."""
        assert self._process is not None
        return self._process.wait(timeout_seconds)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Signal it and wait for its end: its exit status."""
        assert self._process is not None
        if self._process.poll() is None:
            self._process.send_signal(number)
        return self.wait()


def processes_about(folder: Path) -> list[int]:
    """The processes that have anything to do with `folder`: by command line, environment or working directory."""
    needle = os.fsencode(folder.resolve())
    return [pid for pid in _all_pids() if pid != os.getpid() and needle in _traces(pid)]


def _all_pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _traces(pid: int) -> bytes:
    seen = b""
    for name in ("cmdline", "environ"):
        try:
            seen += Path(f"/proc/{pid}/{name}").read_bytes()
        except OSError:
            continue
    try:
        return seen + os.fsencode(os.readlink(f"/proc/{pid}/cwd"))
    except OSError:
        return seen


def is_running(pid: int) -> bool:
    """Whether `pid` runs. A zombie does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def _wait_until(ready: Any) -> None:
    deadline = time.monotonic() + START_SECONDS
    with ThreadPoolExecutor(max_workers=1) as thread:  # the fixture that asks may run in an event loop
        while not thread.submit(ready).result():
            assert time.monotonic() < deadline, "PostgreSQL did not start"
            time.sleep(0.05)
