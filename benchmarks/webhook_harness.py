"""A database with workers on it, a receiver, and events: what the benchmark of webhooks measures."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import datetime as dt
import secrets
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from sqlalchemy import insert, update

from benchmarks.servers import cpu_seconds, family_cpu_seconds
from benchmarks.webhook_receiver import Receiver
from cli.embedded import OWNER, SERVICE
from service.database.encryption import Sealer
from service.database.engine import Database, create_engine
from service.database.tables import Project, WebhookEndpoint
from service.ids import new_id
from service.settings import Settings
from service.wakeups import Wakeups
from service.webhooks import outbox
from service.webhooks.secrets import seal_secret
from service.webhooks.signing import new_secret
from tests.stack import Servers
from tests.workers.process import WorkerProcess

WORKERS = 2
HEALTHY, HANGING = "fine_tuning.job.succeeded", "fine_tuning.job.failed"
"""The types of events to which healthy and hanging endpoints subscribe."""

CONCURRENT_EVENTS = 10


@dataclasses.dataclass(frozen=True, kw_only=True)
class WebhookHarness:
    """A database with workers on it, and a receiver."""

    settings: Settings
    servers: Servers
    db: Database
    receiver: Receiver
    workers: Sequence[WorkerProcess]

    async def new_endpoints(self, healthy: int, hanging: int = 0) -> str:
        """A project with so many endpoints; returns its id."""
        project_id, sealer = new_id("proj_"), Sealer(self.settings.master_key_bytes())
        async with self.db.admin() as session:
            session.add(Project(id=project_id, name=project_id))
            await session.flush()
            for number in range(healthy + hanging):
                endpoint_id, hangs = new_id("we_"), number >= healthy
                await session.execute(
                    insert(WebhookEndpoint).values(
                        id=endpoint_id,
                        project_id=project_id,
                        name=str(number),
                        url=f"http://127.0.0.1:{self.receiver.port}/{'hang' if hangs else f'healthy/{number}'}",
                        event_types=[HANGING if hangs else HEALTHY],
                        secret_encrypted=seal_secret(sealer, endpoint_id, new_secret()),
                        secret_hint="-",
                    )
                )
        return project_id

    async def delete_endpoints(self, project_id: str) -> None:
        """End the pending deliveries of a project."""
        async with self.db.admin() as session:
            of_project = WebhookEndpoint.project_id == project_id
            await session.execute(update(WebhookEndpoint).where(of_project).values(deleted_at=dt.datetime.now(dt.UTC)))

    async def emit(
        self, project_ids: Sequence[str], type: str, *, events: int, per_second: float | None = None
    ) -> dict[str, float]:
        """Emit events of the projects in turn, each in its own transaction: when each was committed, in Unix seconds."""
        committed: dict[str, float] = {}
        started, numbers = time.monotonic(), iter(range(events))

        async def emit_some() -> None:
            for number in numbers:
                if per_second is not None:
                    await asyncio.sleep(max(0.0, started + number / per_second - time.monotonic()))
                async with self.db.worker() as session:
                    event_id = await outbox.emit(
                        session,
                        project_id=project_ids[number % len(project_ids)],
                        type=type,
                        subject="ftjob-1",
                        data={"status": "succeeded"},
                        now=dt.datetime.now(dt.UTC),
                    )
                committed[event_id] = time.time()

        await asyncio.gather(*(emit_some() for _ in range(CONCURRENT_EVENTS)))
        return committed

    async def latencies(self, committed: dict[str, float]) -> list[float]:
        """The seconds from each commit to the receipt by a project's first healthy endpoint."""
        expected = {f"{event_id} /healthy/0" for event_id in committed}
        arrived = await asyncio.to_thread(self.receiver.arrivals, expected)
        return [arrived[f"{event_id} /healthy/0"] - at for event_id, at in committed.items()]

    def cpu_seconds(self) -> dict[str, float]:
        """The CPU time used so far, by part. `events` is this process, which emits them."""
        postmaster = int((self.servers.postgres.data / "postmaster.pid").read_text().split()[0])
        return {
            "workers": sum(cpu_seconds(worker.pid) for worker in self.workers),
            "postgres": family_cpu_seconds(postmaster),
            "events": time.process_time(),
            "receiver": cpu_seconds(self.receiver.pid),
        }


@asynccontextmanager
async def running_workers(
    servers: Servers, database: str, *, redis: bool, receiver: Receiver
) -> AsyncIterator[WebhookHarness]:
    """Two workers on a database."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(
            database_url=servers.postgres.url(SERVICE, database),
            owner_database_url=servers.postgres.url(OWNER, database),
            redis_url=servers.valkey.url if redis else "",
            upstream_base_url="http://127.0.0.1:1/v1",
            upstream_api_key="none",
            environment="dev",
            master_key=base64.b64encode(secrets.token_bytes(32)).decode(),
            storage_url=f"file://{folder}/storage",
            webhook_allow_private=True,
            log_level="error",
        )
        db = Database(create_engine(settings.database_url, pool_size=12), Wakeups(settings.redis_url))
        folders = [Path(folder) / str(number) for number in range(WORKERS)]
        for each in folders:
            each.mkdir()
        workers = [WorkerProcess(settings, each) for each in folders]
        try:
            harness = WebhookHarness(settings=settings, servers=servers, db=db, receiver=receiver, workers=workers)
            project_id = await harness.new_endpoints(1)
            await harness.latencies(await harness.emit([project_id], HEALTHY, events=20))  # until both workers run
            await asyncio.sleep(5)
            yield harness
        finally:
            for worker in workers:
                await worker.__aexit__()
            await db.close()
