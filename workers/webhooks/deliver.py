"""One attempt of a webhook delivery: read, send, record.

No transaction is open while the message is being sent. After a crash before the record the row stays due and its lease
expires, so the message is sent again with the same `webhook-id`: at least once, never lost. A worker that has lost its
lease records nothing.
"""

import datetime as dt
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, assert_never

import structlog
from sqlalchemy import func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from service import fault_points
from service.database import leases
from service.database.encryption import DecryptionFailed, sealer_of
from service.database.engine import Database
from service.database.leases import Claim, LeaseLost
from service.database.tables import WebhookAttempt, WebhookDelivery, WebhookEndpoint, WebhookEvent
from service.settings import Settings
from service.states import DeliveryStatus
from service.webhooks.outcomes import Delivered, Outcome, Rejected, Unreachable
from service.webhooks.schedule import Exhausted, Gone, RetryIn, Succeeded, failed_too_long, is_slow, verdict
from service.webhooks.secrets import active_secrets
from service.webhooks.sender import Sender
from service.webhooks.signing import signed_headers

log = structlog.get_logger()


class DeliveryContext(Protocol):
    """The parts of the worker's context that a delivery uses."""

    @property
    def settings(self) -> Settings:
        """The retry schedule and the master key."""

    @property
    def db(self) -> Database:
        """Opens transactions."""

    @property
    def sender(self) -> Sender:
        """Sends signed messages to endpoints."""


@dataclass(frozen=True, slots=True)
class Unsendable:
    """The endpoint was deleted or disabled after the event was written for it: nothing is sent."""

    reason: str


async def deliver(ctx: DeliveryContext, claimed: Claim[WebhookDelivery]) -> None:
    """Attempt the claimed delivery once and record the outcome. Returns without an error when the lease is lost."""
    try:
        async with leases.heartbeat(ctx.db, claimed):
            async with ctx.db.worker() as session:
                endpoint, event = await _read(session, claimed.row)
            fault_points.point("deliver.read")
            started_at = dt.datetime.now(dt.UTC)
            outcome = await _send(ctx, endpoint, event, started_at)
            fault_points.point("deliver.answered")
            async with ctx.db.worker() as session:
                await _record(session, claimed, endpoint, outcome, started_at, ctx.settings.webhook_schedule_seconds)
            fault_points.point("deliver.recorded")
    except LeaseLost:
        log.info("delivery.lease_lost", delivery=claimed.row.id)


async def _read(session: AsyncSession, delivery: WebhookDelivery) -> tuple[WebhookEndpoint, WebhookEvent]:
    query = (
        select(WebhookEndpoint, WebhookEvent)
        .join(WebhookEvent, WebhookEvent.id == delivery.event_id)
        .where(WebhookEndpoint.id == delivery.endpoint_id)
    )
    endpoint, event = (await session.execute(query)).one()
    return endpoint, event


async def _send(
    ctx: DeliveryContext, endpoint: WebhookEndpoint, event: WebhookEvent, now: dt.datetime
) -> Outcome | Unsendable:
    if endpoint.deleted_at is not None:
        return Unsendable("endpoint_deleted: the endpoint was deleted before this was delivered")
    if endpoint.disabled_at is not None:
        return Unsendable(f"endpoint_disabled: {endpoint.disabled_reason or 'the endpoint is disabled'}")
    try:
        secrets = active_secrets(sealer_of(ctx.settings), endpoint, now=now)
    except DecryptionFailed as broken:
        log.error("webhook.secret_unreadable", endpoint=endpoint.id)
        return Unreachable(reason="secret_unreadable", detail=str(broken), latency_ms=0)
    headers = signed_headers(message_id=event.id, now=now, body=event.body, secrets=secrets)
    return await ctx.sender.send(endpoint.url, headers, event.body, project_id=endpoint.project_id)


async def _record(
    session: AsyncSession,
    claimed: Claim[WebhookDelivery],
    endpoint: WebhookEndpoint,
    outcome: Outcome | Unsendable,
    started_at: dt.datetime,
    schedule_seconds: Sequence[float],
) -> None:
    """Write the attempt, the delivery's next state and the endpoint's health in one fenced transaction.

    A redelivery that was requested during this attempt leads to another attempt, whatever the outcome of this one.
    """
    row = await _claimed_row(session, claimed)
    status: DeliveryStatus = "failed"
    failures, due_in_seconds = row.failures + 1, None
    if not isinstance(outcome, Unsendable):
        match verdict(
            outcome,
            failures_before=row.failures,
            schedule_seconds=schedule_seconds,
            random=random.random(),  # noqa: S311  (jitter)
        ):
            case Succeeded():
                status, failures = "succeeded", 0
                await _set_healthy(session, endpoint, slow_since=started_at if is_slow(outcome) else None)
            case RetryIn(seconds):
                status, due_in_seconds = "pending", seconds
                await _set_failing(session, endpoint, started_at)
            case Exhausted():
                await _set_failing(session, endpoint, started_at)
            case Gone():
                await _disable(session, endpoint, "The receiver answered 410 Gone.")
            case unknown:
                assert_never(unknown)
    if due_in_seconds is None and row.due_at != claimed.due_at:
        status, due_in_seconds = "pending", 0.0
    attempt = row.attempts + 1
    values = {"status": status, "attempts": attempt, "failures": failures}
    await session.execute(insert(WebhookAttempt).values(_attempt(row, attempt, outcome, started_at)))
    await leases.give_back(session, claimed, values, due_in_seconds=due_in_seconds)
    log.info("delivery.attempted", delivery=row.id, endpoint=endpoint.id, attempt=attempt, status=status)


async def _claimed_row(session: AsyncSession, claimed: Claim[WebhookDelivery]) -> WebhookDelivery:
    table = WebhookDelivery
    row = await session.scalar(select(table).where(claimed.held(), table.leased_until.is_not(None)).with_for_update())
    if row is None:
        raise LeaseLost(f"{table.__tablename__} {claimed.row.id}")
    return row


async def _set_healthy(session: AsyncSession, endpoint: WebhookEndpoint, *, slow_since: dt.datetime | None) -> None:
    """Record that the endpoint succeeds, and that it is slow or no longer so; writes nothing if that is known."""
    if endpoint.failing_since is None and (endpoint.slow_since is None) == (slow_since is None):
        return
    await session.execute(
        update(WebhookEndpoint)
        .where(WebhookEndpoint.id == endpoint.id)
        .values(failing_since=None, slow_since=slow_since)
    )


async def _set_failing(session: AsyncSession, endpoint: WebhookEndpoint, started_at: dt.datetime) -> None:
    table = WebhookEndpoint
    await session.execute(
        update(table)
        .where(table.id == endpoint.id, table.updated_at == endpoint.updated_at, table.failing_since.is_(None))
        .values(failing_since=started_at)
    )
    failing_since = await session.scalar(select(table.failing_since).where(table.id == endpoint.id))
    if failed_too_long(failing_since, now=dt.datetime.now(dt.UTC)):
        await _disable(session, endpoint, f"Every delivery failed since {failing_since:%Y-%m-%d %H:%M} UTC.")


async def _disable(session: AsyncSession, endpoint: WebhookEndpoint, reason: str) -> None:
    """Disable the endpoint unless it was changed since it was read, which may have repaired it."""
    table = WebhookEndpoint
    disabled = await session.scalar(
        update(table)
        .where(table.id == endpoint.id, table.updated_at == endpoint.updated_at, table.disabled_at.is_(None))
        .values(disabled_at=func.now(), disabled_reason=reason)
        .returning(table.id)
    )
    if disabled is not None:
        log.warning("webhook.endpoint_disabled", endpoint=endpoint.id, project=endpoint.project_id, reason=reason)


def _attempt(
    row: WebhookDelivery, attempt: int, outcome: Outcome | Unsendable, started_at: dt.datetime
) -> dict[str, object]:
    latency_ms, status_code, error, response = 0, None, None, None
    match outcome:
        case Delivered() | Rejected():
            latency_ms, status_code, response = outcome.latency_ms, outcome.status_code, _storable(outcome.response)
        case Unreachable():
            latency_ms, error = outcome.latency_ms, _storable(f"{outcome.reason}: {outcome.detail}")
        case Unsendable():
            error = _storable(outcome.reason)
        case _:
            assert_never(outcome)
    return {
        "delivery_id": row.id,
        "attempt": attempt,
        "project_id": row.project_id,
        "started_at": started_at,
        "latency_ms": latency_ms,
        "status_code": status_code,
        "error": error,
        "response": response,
    }


def _storable(text: str) -> str:
    """The text without NUL and lone surrogates, which Postgres cannot store."""
    return text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()
