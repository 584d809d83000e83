"""One try of a webhook delivery: read, send, record.

Nothing is open in the database while the message is under way. A crash before the record leaves the row due and its
lease to run out, so the message is sent again with the same `webhook-id`: at least once, never lost. A worker that was
taken over meanwhile records nothing.
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
from service.webhooks.outcomes import Delivered, Outcome, Rejected, Unreachable
from service.webhooks.schedule import Exhausted, Gone, RetryIn, Succeeded, given_up, verdict
from service.webhooks.secrets import active_secrets
from service.webhooks.sender import Sender
from service.webhooks.signing import signed_headers

log = structlog.get_logger()

IN_FLIGHT_PER_ENDPOINT = 4
"""How many deliveries of one endpoint are under way at a time, so that a slow one leaves room for the others. (Workers
that claim at the same instant do not see each other, and may let a few more through.)"""

IN_FLIGHT_PER_FAILING = 1
"""The same of an endpoint whose last try failed. These have places of their own (`workers/main.py`)."""


class Needs(Protocol):
    """What a delivery needs of the worker's context."""

    @property
    def settings(self) -> Settings:
        """The schedule, and the master key."""

    @property
    def db(self) -> Database:
        """Transactions."""

    @property
    def sender(self) -> Sender:
        """What sends."""


@dataclass(frozen=True, slots=True)
class Unsendable:
    """The endpoint was deleted or disabled after the event was written for it: nothing is sent."""

    reason: str


def claimable(ctx: Needs, row_id: str | None = None) -> Sequence[ColumnElement[bool]]:
    """Conditions for the deliveries of endpoints whose last attempt succeeded, or that had none."""
    return _claimable(row_id, failing=False)


def claimable_retries(ctx: Needs, row_id: str | None = None) -> Sequence[ColumnElement[bool]]:
    """Conditions for the deliveries of endpoints whose last attempt failed."""
    return _claimable(row_id, failing=True)


def _claimable(row_id: str | None, *, failing: bool) -> Sequence[ColumnElement[bool]]:
    """Conditions for `claims.claim`: the longest due of every endpoint, as many as it has places left.

    Goes from one waiting endpoint to the next by the index (a "loose index scan") and looks at a few rows of each, so
    its cost grows with the endpoints that wait and not with their backlogs. With `row_id` it asks about one delivery.
    """
    endpoint, places = WebhookEndpoint, IN_FLIGHT_PER_FAILING if failing else IN_FLIGHT_PER_ENDPOINT
    due, under_way = aliased(WebhookDelivery), aliased(WebhookDelivery)
    lane = endpoint.failing_since.is_not(None) if failing else endpoint.failing_since.is_(None)
    busy = (
        select(func.count())
        .where(under_way.endpoint_id == endpoint.id, under_way.leased_until >= func.now())
        .correlate(endpoint)
        .scalar_subquery()
    )
    if row_id is not None:
        free = select(endpoint.id).where(endpoint.id == WebhookDelivery.endpoint_id, lane, busy < places)
        return (free.exists(),)
    next_due = (
        select(due.id)
        .where(
            due.endpoint_id == endpoint.id,
            due.due_at <= func.now(),
            or_(due.leased_until.is_(None), due.leased_until < func.now()),
        )
        .order_by(due.due_at)
        .limit(func.greatest(0, places - busy))
        .correlate(endpoint)
        .lateral("next_due")
    )
    waiting = _waiting_endpoints()
    found = (
        select(next_due.c.id)
        .select_from(waiting)
        .join(endpoint, endpoint.id == waiting.c.endpoint_id)
        .join(next_due, true())
        .where(lane)
    )
    return (WebhookDelivery.id.in_(found),)


def _waiting_endpoints() -> CTE:
    """The endpoints that have deliveries to come, each once, by one index look-up each."""
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


async def deliver(ctx: Needs, claimed: Claim[WebhookDelivery]) -> None:
    """Try the claimed delivery once, and record what came of it. Ends quietly when the lease is lost."""
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
        log.info("webhook.taken_over", delivery=claimed.row.id)


async def _read(session: AsyncSession, delivery: WebhookDelivery) -> tuple[WebhookEndpoint, WebhookEvent]:
    query = (
        select(WebhookEndpoint, WebhookEvent)
        .join(WebhookEvent, WebhookEvent.id == delivery.event_id)
        .where(WebhookEndpoint.id == delivery.endpoint_id)
    )
    endpoint, event = (await session.execute(query)).one()
    return endpoint, event


async def _send(ctx: Needs, endpoint: WebhookEndpoint, event: WebhookEvent, now: dt.datetime) -> Outcome | Unsendable:
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
    return await ctx.sender.send(endpoint.url, headers, event.body)


async def _record(
    session: AsyncSession,
    claimed: Claim[WebhookDelivery],
    endpoint: WebhookEndpoint,
    outcome: Outcome | Unsendable,
    started_at: dt.datetime,
    schedule_seconds: Sequence[float],
) -> None:
    """The one fenced transaction: the attempt, the delivery's next state, and the endpoint's health.

    Who asked for the delivery again while this try was under way gets another one, whatever came of this.
    """
    row = await _held(session, claimed)
    ended, failures, due_in_seconds = "failed", row.failures + 1, None
    if not isinstance(outcome, Unsendable):
        match verdict(
            outcome,
            failures_before=row.failures,
            schedule_seconds=schedule_seconds,
            random=random.random(),  # noqa: S311  (jitter)
        ):
            case Succeeded():
                ended, failures = "succeeded", 0
                if endpoint.failing_since is not None:
                    await _healthy(session, endpoint)
            case RetryIn(seconds):
                ended, due_in_seconds = "pending", seconds
                await _failing(session, endpoint, started_at)
            case Exhausted():
                await _failing(session, endpoint, started_at)
            case Gone():
                await _disable(session, endpoint, "The receiver answered 410 Gone.")
            case unknown:
                assert_never(unknown)
    if due_in_seconds is None and row.due_at != claimed.due_at:
        ended, due_in_seconds = "pending", 0.0
    attempt = row.attempts + 1
    values = {"status": ended, "attempts": attempt, "failures": failures}
    await session.execute(insert(WebhookAttempt).values(_attempt(row, attempt, outcome, started_at)))
    await leases.give_back(session, claimed, values, due_in_seconds=due_in_seconds)
    log.info("webhook.attempted", delivery=row.id, endpoint=endpoint.id, attempt=attempt, status=ended)


async def _held(session: AsyncSession, claimed: Claim[WebhookDelivery]) -> WebhookDelivery:
    table = WebhookDelivery
    row = await session.scalar(select(table).where(claimed.held(), table.leased_until.is_not(None)).with_for_update())
    if row is None:
        raise LeaseLost(f"{table.__tablename__} {claimed.row.id}")
    return row


async def _healthy(session: AsyncSession, endpoint: WebhookEndpoint) -> None:
    await session.execute(
        update(WebhookEndpoint)
        .where(WebhookEndpoint.id == endpoint.id, WebhookEndpoint.failing_since.is_not(None))
        .values(failing_since=None)
    )


async def _failing(session: AsyncSession, endpoint: WebhookEndpoint, started_at: dt.datetime) -> None:
    table = WebhookEndpoint
    await session.execute(
        update(table)
        .where(table.id == endpoint.id, table.updated_at == endpoint.updated_at, table.failing_since.is_(None))
        .values(failing_since=started_at)
    )
    failing_since = await session.scalar(select(table.failing_since).where(table.id == endpoint.id))
    if given_up(failing_since, now=dt.datetime.now(dt.UTC)):
        await _disable(session, endpoint, f"Every delivery failed since {failing_since:%Y-%m-%d %H:%M} UTC.")


async def _disable(session: AsyncSession, endpoint: WebhookEndpoint, reason: str) -> None:
    """Disable the endpoint as it was read: one that was changed meanwhile may be well again."""
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
    """What Postgres takes as text: no NUL, no lone surrogates."""
    return text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()
