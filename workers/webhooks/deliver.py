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
from sqlalchemy import CTE, ColumnElement, func, insert, or_, select, true, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from service import fault_points
from service.database import leases
from service.database.encryption import DecryptionFailed, sealer_of
from service.database.engine import Database
from service.database.leases import Claim, LeaseLost
from service.database.tables import WebhookAttempt, WebhookDelivery, WebhookEndpoint, WebhookEvent
from service.settings import Settings
from service.states import DeliveryStatus
from service.webhooks.outcomes import Delivered, Outcome, Rejected, Unreachable
from service.webhooks.schedule import Exhausted, Gone, RetryIn, Succeeded, failed_too_long, verdict
from service.webhooks.secrets import active_secrets
from service.webhooks.sender import Sender
from service.webhooks.signing import signed_headers

log = structlog.get_logger()

MAX_CONCURRENT_PER_ENDPOINT = 4
"""Concurrent deliveries to one endpoint, so that a slow endpoint does not delay the others. (Workers that claim at the
same instant do not see each other's claims, so a few more may run.)"""

MAX_CONCURRENT_PER_FAILING_ENDPOINT = 1
"""Concurrent deliveries to an endpoint whose last attempt failed. They have a concurrency limit of their own
(`workers/registry.py`)."""


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


def claimable(ctx: DeliveryContext, row_id: str | None = None) -> Sequence[ColumnElement[bool]]:
    """Conditions for the deliveries of endpoints whose last attempt succeeded, or that had none."""
    return _claimable(row_id, failing=False)


def claimable_retries(ctx: DeliveryContext, row_id: str | None = None) -> Sequence[ColumnElement[bool]]:
    """Conditions for the deliveries of endpoints whose last attempt failed."""
    return _claimable(row_id, failing=True)


def _claimable(row_id: str | None, *, failing: bool) -> Sequence[ColumnElement[bool]]:
    """Conditions for `leases.claim`: the longest due deliveries of each endpoint, within its concurrency limit.

    The query goes from one waiting endpoint to the next by the index (a "loose index scan") and reads a few rows of
    each, so its cost grows with the number of waiting endpoints and not with their backlogs. With `row_id` the
    condition is about that one delivery.
    """
    endpoint = WebhookEndpoint
    limit = MAX_CONCURRENT_PER_FAILING_ENDPOINT if failing else MAX_CONCURRENT_PER_ENDPOINT
    due, running = aliased(WebhookDelivery), aliased(WebhookDelivery)
    health = endpoint.failing_since.is_not(None) if failing else endpoint.failing_since.is_(None)
    busy = (
        select(func.count())
        .where(running.endpoint_id == endpoint.id, running.leased_until >= func.now())
        .correlate(endpoint)
        .scalar_subquery()
    )
    if row_id is not None:
        has_capacity = select(endpoint.id).where(endpoint.id == WebhookDelivery.endpoint_id, health, busy < limit)
        return (has_capacity.exists(),)
    next_due = (
        select(due.id)
        .where(
            due.endpoint_id == endpoint.id,
            due.due_at <= func.now(),
            or_(due.leased_until.is_(None), due.leased_until < func.now()),
        )
        .order_by(due.due_at)
        .limit(func.greatest(0, limit - busy))
        .correlate(endpoint)
        .lateral("next_due")
    )
    waiting = _waiting_endpoints()
    claimable_ids = (
        select(next_due.c.id)
        .select_from(waiting)
        .join(endpoint, endpoint.id == waiting.c.endpoint_id)
        .join(next_due, true())
        .where(health)
    )
    return (WebhookDelivery.id.in_(claimable_ids),)


def _waiting_endpoints() -> CTE:
    """The endpoints with pending deliveries, each once, by one index look-up each."""
    table, further = WebhookDelivery, aliased(WebhookDelivery)
    waiting = (
        select(func.min(table.endpoint_id).label("endpoint_id"))
        .where(table.due_at.is_not(None))
        .cte("waiting", recursive=True)
    )
    following = (
        select(func.min(further.endpoint_id))
        .where(further.due_at.is_not(None), further.endpoint_id > waiting.c.endpoint_id)
        .scalar_subquery()
    )
    return waiting.union_all(select(following).select_from(waiting).where(waiting.c.endpoint_id.is_not(None)))


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
                if endpoint.failing_since is not None:
                    await _set_healthy(session, endpoint)
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


async def _set_healthy(session: AsyncSession, endpoint: WebhookEndpoint) -> None:
    await session.execute(
        update(WebhookEndpoint)
        .where(WebhookEndpoint.id == endpoint.id, WebhookEndpoint.failing_since.is_not(None))
        .values(failing_since=None)
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
