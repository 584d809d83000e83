"""Rows for the tests of webhooks, and the worker's part of delivering them."""

import datetime as dt
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select, update

from service.database import leases
from service.database.encryption import Sealer
from service.database.engine import Database, create_engine
from service.database.fair_claims import FREE
from service.database.leases import Claim
from service.database.tables import Project, WebhookAttempt, WebhookDelivery, WebhookEndpoint, WebhookEvent
from service.egress.addresses import Reach
from service.ids import new_id
from service.settings import Settings
from service.wakeups import Wakeups
from service.webhooks import outbox
from service.webhooks.secrets import seal_secret
from service.webhooks.sender import Sender
from service.webhooks.signing import new_secret, secret_hint
from workers.webhooks.candidates import Health, candidates
from workers.webhooks.deliver import DeliveryBatches, deliver

PATIENT_SECONDS = 60.0
HEALTHS: tuple[Health, ...] = ("fast", "slow", "failing")
TYPES = ("fine_tuning.job.succeeded", "fine_tuning.job.failed")


@dataclass(frozen=True, slots=True)
class WebhookHarness:
    """What deliveries need, as a worker's context has it."""

    settings: Settings
    db: Database
    sender: Sender
    delivery_batches: DeliveryBatches
    project_id: str

    @property
    def sealer(self) -> Sealer:
        """What seals secrets."""
        return Sealer(self.settings.master_key_bytes())

    async def new_project(self) -> str:
        """Another project."""
        project_id = new_id("proj_")
        async with self.db.admin() as session:
            session.add(Project(id=project_id, name="other"))
        return project_id

    async def new_endpoint(
        self,
        url: str,
        *,
        event_types: Sequence[str] = TYPES,
        project_id: str | None = None,
        secret: str | None = None,
        failing_since: dt.datetime | None = None,
    ) -> str:
        """An endpoint of the project."""
        endpoint_id, secret = new_id("we_"), secret or new_secret()
        project_id = project_id or self.project_id
        async with self.db.project(project_id) as session:
            session.add(
                WebhookEndpoint(
                    id=endpoint_id,
                    project_id=project_id,
                    name="receiver",
                    url=url,
                    event_types=list(event_types),
                    secret_encrypted=seal_secret(self.sealer, endpoint_id, secret),
                    secret_hint=secret_hint(secret),
                    failing_since=failing_since,
                )
            )
        return endpoint_id

    async def emit(self, subject: str = "ftjob-1", *, type: str = TYPES[0], project_id: str | None = None) -> None:
        """Something that happened."""
        async with self.db.worker() as session:
            await outbox.emit(
                session,
                project_id=project_id or self.project_id,
                type=type,
                subject=subject,
                data={"status": "succeeded"},
                now=dt.datetime.now(dt.UTC),
            )

    async def claim(
        self, *, limit: int = 1, lease_seconds: float = 60, health: Health | None = None
    ) -> list[Claim[WebhookDelivery]]:
        """Due deliveries of endpoints of this health, or of any, the longest due first."""
        claimed: list[Claim[WebhookDelivery]] = []
        async with self.db.worker() as session:
            for each in HEALTHS if health is None else (health,):
                if left := limit - len(claimed):
                    found = await session.execute(candidates(each), {FREE.key: left})
                    rows = sorted(found, key=lambda row: row.due_at)[:left]
                    chosen = [WebhookDelivery.id.in_([row.id for row in rows])]
                    claimed += await leases.claim(
                        session, WebhookDelivery, lease_seconds=lease_seconds, limit=left, where=chosen
                    )
        return claimed

    async def deliver_due(self) -> int:
        """Try every delivery that is due, one after the other; how many were tried."""
        tried = 0
        while claimed := await self.claim():
            await deliver(self, claimed[0])
            tried += 1
        return tried

    async def make_due(self) -> None:
        """Let the time until the next attempts pass."""
        async with self.db.worker() as session:
            await session.execute(
                update(WebhookDelivery).where(WebhookDelivery.due_at.is_not(None)).values(due_at=func.now())
            )

    async def deliveries(self) -> Sequence[WebhookDelivery]:
        """Every delivery, oldest first."""
        async with self.db.worker() as session:
            return (await session.scalars(select(WebhookDelivery).order_by(WebhookDelivery.id))).all()

    async def attempts(self) -> Sequence[WebhookAttempt]:
        """Every attempt, in order."""
        async with self.db.worker() as session:
            return (
                await session.scalars(
                    select(WebhookAttempt).order_by(WebhookAttempt.delivery_id, WebhookAttempt.attempt)
                )
            ).all()

    async def endpoint(self, endpoint_id: str) -> WebhookEndpoint:
        """An endpoint as it is now."""
        async with self.db.worker() as session:
            return await session.get_one(WebhookEndpoint, endpoint_id)

    async def events(self) -> Sequence[WebhookEvent]:
        """Every event, oldest first."""
        async with self.db.worker() as session:
            return (await session.scalars(select(WebhookEvent).order_by(WebhookEvent.id))).all()


def new_sender(*, reach: Reach, timeout_seconds: float = PATIENT_SECONDS, **options: Any) -> Sender:
    """A sender for a machine that may stand still: look-ups and the start of a body have a minute."""
    return Sender(
        reach=reach,
        timeout_seconds=timeout_seconds,
        check_seconds=PATIENT_SECONDS,
        body_seconds=PATIENT_SECONDS,
        **options,
    )


@asynccontextmanager
async def open_webhook_harness(settings: Settings) -> AsyncIterator[WebhookHarness]:
    """A project in a fresh database, with a sender."""
    db = Database(create_engine(settings.database_url, pool_size=settings.database_pool_size), Wakeups(""))
    try:
        harness = WebhookHarness(
            settings,
            db,
            new_sender(
                reach=Reach.of(allow_private=settings.webhook_allow_private, development=settings.environment == "dev"),
                timeout_seconds=settings.webhook_timeout_seconds,
            ),
            DeliveryBatches(db),
            new_id("proj_"),
        )
        async with db.admin() as session:
            session.add(Project(id=harness.project_id, name="project"))
        yield harness
    finally:
        await db.close()
