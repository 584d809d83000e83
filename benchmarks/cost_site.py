"""The programs whose cost `benchmarks/cost.py` measures, the work that is measured, and what is counted."""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import asyncpg
import httpx2

from benchmarks.servers import migrated_database, running_api
from benchmarks.usage import child_named, tree_cpu_seconds
from cli.embedded import SUPERUSER
from service.database.engine import Database, create_engine
from service.settings import Settings
from service.wakeups import Wakeups
from service.webhooks import outbox
from tests.faults.control import FaultyUpstream
from tests.faults.processes import wait_until, worker
from tests.faults.receiver import receiving
from tests.stack import Servers
from tests.wire import MODEL, Tenant, chat_rows, jsonl, make_tenant

IDLE_SECONDS = 15.0
CALLERS = 8
EVENT = "fine_tuning.job.succeeded"
MANY = 1_000_000


@dataclass(frozen=True, slots=True)
class Counts:
    """What everything has used until a moment."""

    at: float
    cpu_seconds: Mapping[str, float]
    transactions: float
    statements: float
    wal_bytes: float
    table_bytes: Mapping[str, float] = field(default_factory=dict)


@dataclass(slots=True)
class Site:
    """The running programs, their pids by name, and a connection of the superuser's."""

    settings: Settings
    servers: Servers
    pids: Mapping[str, int]
    admin: Any
    http: httpx2.AsyncClient
    tenant: Tenant
    idle: Counts | None = None
    """What is used in a second while nothing happens."""

    async def counts(self, *, sizes: bool = False) -> Counts:
        """What has been used by now; `sizes`: also the bytes of the tables."""
        tables: dict[str, float] = {}
        if sizes:
            await self.admin.execute("VACUUM (FULL)")
            tables = dict(await self.admin.fetch(_SIZES))
        await self.admin.execute("SELECT pg_stat_force_next_flush()")
        row = await self.admin.fetchrow(_COUNTS)
        return Counts(
            time.monotonic(),
            {name: tree_cpu_seconds(pid) for name, pid in self.pids.items()},
            row["transactions"],
            await asyncio.to_thread(_logged_statements, self.servers.folder / "postgres.log"),
            float(row["wal"]),
            tables,
        )

    async def cost(self, work: Callable[[int], Awaitable[None]], number: int, *, sizes: bool = False) -> Counts:
        """What one of `number` things costs, of which `work(number)` does so many."""
        before = await self.counts(sizes=sizes)
        began = await self.counts()
        await work(number)
        ended = await self.counts()
        after = await self.counts(sizes=True) if sizes else ended
        used = _difference(began, ended)
        if self.idle is not None:
            used = _difference(_times(self.idle, used.at), used)
        tables = {name: after.table_bytes[name] - before.table_bytes[name] for name in after.table_bytes}
        return _times(
            Counts(used.at, used.cpu_seconds, used.transactions, used.statements, used.wal_bytes, tables), 1 / number
        )

    async def measure_idle(self) -> Counts:
        """Measure what is used in a second while nothing happens; it is subtracted from all that is measured later."""
        self.idle = None
        self.idle = _times(await self.cost(self._do_nothing, 1), 1 / IDLE_SECONDS)
        return self.idle

    async def log_statements(self, logged: bool) -> None:
        """Have Postgres write every statement to its log, or none."""
        await self.admin.execute(f"ALTER SYSTEM SET log_statement = '{'all' if logged else 'none'}'")
        await self.admin.execute("SELECT pg_reload_conf()")
        await asyncio.sleep(1)

    async def enable_endpoint(self, enabled: bool) -> None:
        """Have events delivered, or not."""
        await self.admin.execute(f"UPDATE webhook_endpoints SET disabled_at = {'NULL' if enabled else 'now()'}")

    # What is measured: each does it so many times.

    async def get_job(self, number: int) -> None:
        """Retrieve a job."""
        job_id = (await self._json("GET", "/fine_tuning/jobs?limit=1"))["data"][0]["id"]
        await self._each(number, lambda _: self._json("GET", f"/fine_tuning/jobs/{job_id}"))

    async def list_jobs(self, number: int) -> None:
        """List the newest twenty jobs."""
        await self._each(number, lambda _: self._json("GET", "/fine_tuning/jobs"))

    async def run_jobs(self, number: int) -> None:
        """Create jobs, and wait until each has succeeded."""
        file_id = (await self._json("GET", "/files?purpose=fine-tune"))["data"][0]["id"]

        async def create(at: int) -> None:
            body = {"model": MODEL, "training_file": file_id, "metadata": {"number": f"{time.time()}-{at}"}}
            await self._json("POST", "/fine_tuning/jobs", json=body)

        await self._each(number, create)
        await self.all_ended()

    async def deliver(self, number: int) -> None:
        """Write events for one endpoint, and wait until each is delivered."""
        db = Database(create_engine(self.settings.database_url, pool_size=CALLERS), Wakeups(self.settings.redis_url))

        async def emit(_: int) -> None:
            async with db.worker() as session:
                await outbox.emit(
                    session,
                    project_id=self.tenant.project_id,
                    type=EVENT,
                    subject="ftjob-1",
                    data={"id": "ftjob-1", "status": "succeeded"},
                    now=dt.datetime.now(dt.UTC),
                )

        await self._each(number, emit)
        await db.close()
        await self._none("SELECT count(*) FROM webhook_deliveries WHERE status = 'pending'", "a delivery is missing")

    async def all_ended(self) -> None:
        """Wait until every job has succeeded."""
        await self._none("SELECT count(*) FROM jobs WHERE state <> 'succeeded'", "a job has not succeeded")

    async def _do_nothing(self, _: int) -> None:
        await asyncio.sleep(IDLE_SECONDS)

    async def _none(self, query: str, about: str) -> None:
        async def none() -> bool:
            return int(await self.admin.fetchval(query)) == 0

        await wait_until(none, 600.0, about)

    async def _json(self, method: str, path: str, **content: Any) -> Any:
        """The body of an answer. While other programs use the machine, a request may get 503, and is repeated."""
        for _ in range(10):
            answer = await self.http.request(method, path, **content)
            if answer.status_code != 503:
                break
            await asyncio.sleep(1)
        answer.raise_for_status()
        return answer.json()

    async def _each(self, number: int, call: Callable[[int], Awaitable[Any]]) -> None:
        numbers = iter(range(number))

        async def caller() -> None:
            for each in numbers:
                await call(each)

        await asyncio.gather(*(caller() for _ in range(CALLERS)))


_COUNTS = """
    SELECT xact_commit + xact_rollback AS transactions, pg_current_wal_lsn() - '0/0'::pg_lsn AS wal
    FROM pg_stat_database WHERE datname = current_database()
"""
_SIZES = """
    SELECT relname, pg_total_relation_size(oid) FROM pg_class
    WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
"""


def _logged_statements(log: Path) -> int:
    """The statements in Postgres's log: by the simple protocol, and executions by the extended one."""
    text = log.read_text(errors="replace")
    return text.count(" LOG:  statement: ") + text.count(" LOG:  execute ")


def _difference(before: Counts, after: Counts) -> Counts:
    return Counts(
        after.at - before.at,
        {name: after.cpu_seconds[name] - before.cpu_seconds[name] for name in after.cpu_seconds},
        after.transactions - before.transactions,
        after.statements - before.statements,
        after.wal_bytes - before.wal_bytes,
        after.table_bytes,
    )


def _times(counts: Counts, factor: float) -> Counts:
    return Counts(
        counts.at * factor,
        {name: each * factor for name, each in counts.cpu_seconds.items()},
        counts.transactions * factor,
        counts.statements * factor,
        counts.wal_bytes * factor,
        {name: each * factor for name, each in counts.table_bytes.items()},
    )


@dataclass(frozen=True, slots=True)
class Programs:
    """What runs: the servers, the API's address and pid, and the worker."""

    servers: Servers
    settings: Settings
    url: str
    pids: Mapping[str, int]


@contextmanager
def running_programs() -> Iterator[Programs]:
    """An API and a worker, whose upstream runs a job for two seconds."""
    upstream = FaultyUpstream()
    upstream.configure(terse=True, step_seconds=1.0)
    options = {"upstream_base_url": upstream.base_url, "environment": "dev", "webhook_allow_private": True}
    try:
        with (
            migrated_database(**options) as (servers, settings),
            running_api(settings) as api,
            TemporaryDirectory() as folder,
        ):
            started = worker(settings, Path(folder)).start()
            pids = {
                "API": api.pids[0],
                "worker": started.pid,
                "Postgres": child_named("postgres"),
                "Redis": child_named("valkey"),
            }
            yield Programs(servers, settings, api.url, pids)
            started.kill()
    finally:
        upstream.stop()


@asynccontextmanager
async def open_site(programs: Programs) -> AsyncIterator[Site]:
    """A project whose file is checked and whose jobs run at once, with a webhook endpoint that is disabled."""
    settings = programs.settings
    database = settings.database_url.rpartition("/")[2]
    admin = await asyncpg.connect(programs.servers.postgres.url(SUPERUSER, database))  # type: ignore[no-untyped-call]
    tenant = await make_tenant(f"{programs.url}/v1", settings.database_url)
    headers = {"authorization": f"Bearer {tenant.key}"}
    async with (
        receiving() as receiver,
        httpx2.AsyncClient(base_url=tenant.base_url, headers=headers, timeout=90) as http,
    ):
        site = Site(settings, programs.servers, programs.pids, admin, http, tenant)
        files = {"file": ("a.jsonl", jsonl(chat_rows(10)))}
        (await http.post("/files", data={"purpose": "fine-tune"}, files=files)).raise_for_status()
        body = {"name": "a", "url": receiver.url("/a"), "event_types": [EVENT]}
        (await http.post("/webhook_endpoints", json=body)).raise_for_status()
        await admin.execute(f"UPDATE projects SET max_active_jobs = {MANY}, max_queued_jobs = {MANY}")
        await admin.execute(f"UPDATE upstream_accounts SET max_active_jobs = {MANY}")
        await site.run_jobs(10)  # until everything is warm
        await site.enable_endpoint(False)
        yield site
    await admin.close()
