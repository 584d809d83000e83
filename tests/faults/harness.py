"""The fault harness: a deployment with its own Postgres, Redis, faulty upstream, receiver and gateway processes.

Every server is real and belongs to one run, so that it may be killed. Projects are inserted into the database;
everything else goes over HTTP.
"""

import asyncio
import base64
import dataclasses
import json
import secrets
import socket
import tempfile
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import httpx2

from cli.embedded import DATABASE, OWNER, SERVICE, SUPERUSER, Postgres, Valkey, free_port
from service.database.engine import SERVICE_ROLE
from service.database.migrations import upgrade
from service.settings import Settings
from tests.faults import processes
from tests.faults.control import FaultyUpstream
from tests.faults.processes import Forked, Process
from tests.faults.receiver import Receiver, receiving
from tests.wire import Tenant, make_tenant

EVENTS = [
    "fine_tuning.job.created",
    "fine_tuning.job.running",
    "fine_tuning.job.succeeded",
    "fine_tuning.job.failed",
    "fine_tuning.job.cancelled",
]
MANY_ATTEMPTS = (0.2, 0.4, 0.8, *[1.5] * 60)
"""A schedule of deliveries that outlasts every fault of a run."""

LARGE = 1_000_000
STEP_SECONDS = 1.0
"""How long an upstream job is queued, then runs, whether or not it is polled."""


_MIGRATING = threading.Lock()
"""Alembic does one migration at a time in a process."""


@dataclass(slots=True)
class FaultHarness:
    """The running servers. The test starts `workers` and `apis`."""

    folder: Path
    settings: Settings
    postgres: Process
    redis: Process
    upstream: FaultyUpstream
    receiver: Receiver
    listener: socket.socket
    tenants: list[Tenant] = field(default_factory=list)
    apis: list[Forked] = field(default_factory=list)
    workers: list[Forked] = field(default_factory=list)
    _owner: Any = None
    _checking: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def base_url(self) -> str:
        """Where the gateway is for its callers."""
        return f"http://127.0.0.1:{self.listener.getsockname()[1]}/v1"

    @property
    def root_url(self) -> str:
        """The same without `/v1`."""
        return self.base_url.removesuffix("/v1")

    @property
    def owner_url(self) -> str:
        """The database for its owner, who sees every row."""
        return self.settings.owner_database_url

    def new_api(self) -> Forked:
        """Another API process on the same socket, not started."""
        made = processes.api(self.settings, self.folder, self.listener, f"api{len(self.apis)}")
        self.apis.append(made)
        return made

    def new_worker(self, settings: Settings | None = None) -> Forked:
        """Another worker, not started."""
        made = processes.worker(settings or self.settings, self.folder, f"worker{len(self.workers)}")
        self.workers.append(made)
        return made

    async def serving(self) -> None:
        """Wait until the gateway is ready."""

        about = "\n".join(["the gateway does not get ready", *(each.output() for each in self.apis)])
        async with httpx2.AsyncClient(timeout=10) as http:

            async def ready() -> bool:
                try:
                    return (await http.get(f"{self.root_url}/readyz")).status_code == 200
                except httpx2.TransportError:
                    return False

            await processes.wait_until(ready, processes.READY_SECONDS, about)

    async def all_well(self) -> dict[str, Any]:
        """What `/readyz` says once it says that all is well, workers included."""
        answer: dict[str, Any] = {}

        async def well() -> bool:
            nonlocal answer
            async with httpx2.AsyncClient(timeout=processes.READY_SECONDS) as http:
                answer = (await http.get(f"{self.root_url}/readyz")).json()
            return bool(answer["status"] == "ok")

        about = "\n".join(["not all is well", *(each.output() for each in self.workers)])
        await processes.wait_until(well, processes.READY_SECONDS, about)
        return answer

    async def new_tenant(self, name: str) -> Tenant:
        """A project without narrow limits, with a webhook endpoint at the receiver's path `/name`."""
        tenant = await make_tenant(self.base_url, self.settings.database_url)
        await self.execute(
            "UPDATE projects SET max_active_jobs = $1, max_queued_jobs = $1 WHERE id = $2", LARGE, tenant.project_id
        )
        headers = {"authorization": f"Bearer {tenant.key}"}
        body = {"name": name, "url": self.receiver.url(f"/{name}"), "event_types": EVENTS}
        async with httpx2.AsyncClient(base_url=self.base_url, headers=headers, timeout=90) as http:
            answer = await http.post("/webhook_endpoints", json=body)
            assert answer.status_code == 200, answer.text
        self.tenants.append(tenant)
        return tenant

    async def execute(self, statement: str, *values: Any) -> str:
        """Run a statement as the schema's owner."""
        async with self._checking:
            done: str = await (await self._connection()).execute(statement, *values)
        return done

    async def fetch(self, query: str, *values: Any) -> list[Any]:
        """The rows of a query, as the schema's owner, who sees those of every project."""
        async with self._checking:
            try:
                rows: list[Any] = await (await self._connection()).fetch(query, *values)
            except (OSError, asyncpg.PostgresConnectionError, asyncpg.exceptions.InterfaceError):
                await self.postgres.ready()  # it was killed since we last looked
                rows = await (await self._connection()).fetch(query, *values)
        return rows

    async def _connection(self) -> Any:
        if self._owner is None or self._owner.is_closed():
            self._owner = await connect(self.owner_url)
        return self._owner

    def defects(self) -> list[str]:
        """What the API processes have logged of answers of 500, each with its traceback."""
        logs = sorted(self.folder.glob("api*.log"))
        lines = [line for log in logs for line in log.read_text(errors="replace").splitlines()]
        return [str(entry["exception"]) for entry in map(_entry, lines) if entry.get("event") == "request.failed"]

    def end(self) -> None:
        """End every process."""
        for forked in (*self.apis, *self.workers):
            forked.kill()
        for server in (self.redis, self.postgres):
            server.kill()
        self.upstream.stop()
        self.listener.close()


async def connect(url: str) -> Any:
    """A connection of asyncpg's."""
    return await asyncpg.connect(url, timeout=60, command_timeout=60)  # type: ignore[no-untyped-call]


@asynccontextmanager
async def open_fault_harness(**settings: Any) -> AsyncIterator[FaultHarness]:
    """Opens a migrated deployment whose servers and upstream run. `settings` replace those for short times."""
    with tempfile.TemporaryDirectory(prefix="tunegate-site-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        passwords = {login: secrets.token_urlsafe(12) for login in (SUPERUSER, OWNER, SERVICE)}
        server = Postgres(folder=folder / "postgres", port=free_port(), passwords=passwords, durable=False)
        await asyncio.to_thread(server.prepare)
        redis = Valkey(folder=folder / "redis", port=free_port(), password=secrets.token_urlsafe(12))
        upstream = FaultyUpstream()
        upstream.configure(terse=True, step_seconds=STEP_SECONDS)
        listener = socket.create_server(("127.0.0.1", free_port()), backlog=2048)
        async with receiving() as receiver:
            harness = FaultHarness(
                folder=folder,
                settings=hurried(server, redis, upstream, folder, **settings),
                postgres=processes.postgres(server, folder).start(),
                redis=processes.redis(redis, folder).start(),
                upstream=upstream,
                receiver=receiver,
                listener=listener,
            )
            try:
                await asyncio.gather(harness.postgres.ready(), harness.redis.ready())
                await server.create_logins()
                await asyncio.to_thread(_migrate, harness.settings)
                await server.grant_service_role(SERVICE_ROLE)
                yield harness
            finally:
                harness.end()


def _entry(line: str) -> dict[str, Any]:
    try:
        entry = json.loads(line)
    except ValueError:
        return {}
    return entry if isinstance(entry, dict) else {}


def _migrate(settings: Settings) -> None:
    with _MIGRATING:
        upgrade(settings)


def hurried(server: Postgres, redis: Valkey, upstream: FaultyUpstream, folder: Path, **settings: Any) -> Settings:
    """Settings whose times are short, so that a run meets many of them."""
    quick = Settings(
        database_url=server.url(SERVICE, DATABASE),
        owner_database_url=server.url(OWNER, DATABASE),
        redis_url=redis.url,
        upstream_base_url=upstream.base_url,
        upstream_api_key="sk-upstream",
        environment="dev",
        master_key=base64.b64encode(secrets.token_bytes(32)).decode(),
        storage_url=f"file://{folder / 'storage'}",
        poll_seconds=1.0,
        lease_seconds=8.0,
        reconcile_seconds=0.5,
        upstream_timeout_seconds=2.0,
        settle_seconds=3.0,
        webhook_schedule_seconds=MANY_ATTEMPTS,
        webhook_timeout_seconds=2.0,
        webhook_allow_private=True,
        database_pool_size=10,
        log_level="warning",
    )
    return dataclasses.replace(quick, **settings)
