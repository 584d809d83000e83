"""The health of endpoints by the outcomes of attempts: the queue of their deliveries, and when they are disabled."""

import datetime as dt
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import assert_never

import structlog
from sqlalchemy import ARRAY, Text, any_, bindparam, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from service.database.row_arrays import parameters, rows_of
from service.database.tables import WebhookEndpoint
from service.webhooks.schedule import Exhausted, Gone, RetryIn, Succeeded, failed_too_long
from workers.webhooks.attempt import Attempt

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """The columns of an endpoint that attempts change."""

    failing_since: dt.datetime | None
    slow_since: dt.datetime | None
    disabled_at: dt.datetime | None
    disabled_reason: str | None


_NAMES = [each.name for each in fields(Health)]
_TYPES = {"id": Text(), **{name: getattr(WebhookEndpoint, name).type for name in _NAMES}}
_changed = rows_of("changed", _TYPES)
_WRITE = (
    update(WebhookEndpoint)
    .where(WebhookEndpoint.id == _changed.c.id)
    .values({name: _changed.c[name] for name in _NAMES})
)
_LOCK = (
    select(
        WebhookEndpoint.id,
        WebhookEndpoint.updated_at,
        func.now(),
        *(getattr(WebhookEndpoint, name) for name in _NAMES),
    )
    .where(WebhookEndpoint.id == any_(bindparam("ids", type_=ARRAY(Text))))
    .order_by(WebhookEndpoint.id)
    .with_for_update(key_share=True)
)


async def record_health(session: AsyncSession, attempts: Sequence[Attempt]) -> None:
    """Write what attempts show of their endpoints, in their order. Locks only endpoints that they may change."""
    by_endpoint: dict[str, list[Attempt]] = defaultdict(list)
    for attempt in attempts:
        if not _is_known(attempt):
            by_endpoint[attempt.message.endpoint.id].append(attempt)
    if not by_endpoint:
        return
    changed = []
    for endpoint_id, updated_at, now, *columns in await session.execute(_LOCK, {"ids": list(by_endpoint)}):
        before = health = Health(**dict(zip(_NAMES, columns, strict=True)))
        for attempt in by_endpoint[endpoint_id]:
            health = health_after(health, attempt, updated_at=updated_at, now=now)
        if health != before:
            changed.append({"id": endpoint_id, **asdict(health)})
        if health.disabled_at is not None and before.disabled_at is None:
            log.warning("webhook.endpoint_disabled", endpoint=endpoint_id, reason=health.disabled_reason)
    if changed:
        await session.execute(_WRITE, parameters(_TYPES, changed))


def health_after(health: Health, attempt: Attempt, *, updated_at: dt.datetime, now: dt.datetime) -> Health:
    """The endpoint's health after one more attempt.

    A failure does not count if the endpoint was changed (`updated_at`) since the message was read: that may have
    repaired it.
    """
    if isinstance(attempt.verdict, RetryIn | Exhausted | Gone) and attempt.message.endpoint.updated_at != updated_at:
        return health
    match attempt.verdict:
        case Succeeded():
            return replace(health, failing_since=None, slow_since=attempt.slow_since)
        case RetryIn() | Exhausted():
            since = health.failing_since or attempt.started_at
            failing = replace(health, failing_since=since)
            if failed_too_long(since, now=now):
                return _disabled(failing, f"Every delivery failed since {since:%Y-%m-%d %H:%M} UTC.", now)
            return failing
        case Gone():
            return _disabled(health, "The receiver answered 410 Gone.", now)
        case None:
            return health
        case unknown:
            assert_never(unknown)


def _disabled(health: Health, reason: str, now: dt.datetime) -> Health:
    if health.disabled_at is not None:
        return health
    return replace(health, disabled_at=now, disabled_reason=reason)


def _is_known(attempt: Attempt) -> bool:
    """Whether the endpoint's row already had what this attempt shows when the message was read."""
    endpoint = attempt.message.endpoint
    match attempt.verdict:
        case Succeeded():
            return endpoint.failing_since is None and (endpoint.slow_since is None) == (attempt.slow_since is None)
        case RetryIn() | Exhausted() | Gone():
            return False
        case None:
            return True
        case unknown:
            assert_never(unknown)
