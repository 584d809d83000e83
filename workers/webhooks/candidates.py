"""Which deliveries may be claimed: the longest due ones of each endpoint, in three queues by the endpoint's health.

Endpoints whose last attempt failed, and those whose last attempt was slow, have queues of their own, so that they do
not delay the others. An endpoint without attempts counts as fast.
"""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import ColumnElement, Select, and_, func, or_, select, true
from sqlalchemy.orm import aliased

from service.database.fair_claims import longest_due_of, waiting_keys
from service.database.tables import WebhookDelivery, WebhookEndpoint

MAX_CONCURRENT_PER_ENDPOINT = 4
"""Concurrent deliveries to one endpoint, so that one endpoint does not delay its project's others. (Workers that claim
at the same instant do not see each other's claims, so a few more may run.)"""

MAX_CONCURRENT_PER_FAILING_ENDPOINT = 1
"""Concurrent deliveries to an endpoint whose last attempt failed."""

Health = Literal["fast", "slow", "failing"]
"""An endpoint's health, by its last attempt."""


@dataclass(frozen=True, slots=True)
class _Queue:
    endpoints: ColumnElement[bool]
    max_concurrent_per_endpoint: int


_SUCCEEDING = WebhookEndpoint.failing_since.is_(None)

_QUEUES: Mapping[Health, _Queue] = {
    "fast": _Queue(and_(_SUCCEEDING, WebhookEndpoint.slow_since.is_(None)), MAX_CONCURRENT_PER_ENDPOINT),
    "slow": _Queue(and_(_SUCCEEDING, WebhookEndpoint.slow_since.is_not(None)), MAX_CONCURRENT_PER_ENDPOINT),
    "failing": _Queue(WebhookEndpoint.failing_since.is_not(None), MAX_CONCURRENT_PER_FAILING_ENDPOINT),
}


@functools.cache
def candidates(health: Health) -> Select[Any]:
    """The deliveries to claim of endpoints of this health, by project, for `FREE` places.

    The query goes from one waiting endpoint to the next by the index (a "loose index scan") and reads a few rows of
    each, so its cost grows with the number of waiting endpoints and not with their backlogs.
    """
    queue, waiting = _QUEUES[health], waiting_keys(WebhookDelivery.endpoint_id)
    due, running = aliased(WebhookDelivery), aliased(WebhookDelivery)
    endpoint = (
        select(WebhookEndpoint.project_id)
        .where(WebhookEndpoint.id == waiting.c.key, queue.endpoints)
        .limit(1)  # so that Postgres begins with the endpoints that wait, not with all
        .correlate(waiting)
        .lateral("endpoint")
    )
    busy = (
        select(func.count())
        .where(running.endpoint_id == waiting.c.key, running.leased_until >= func.now())
        .correlate(waiting)
        .scalar_subquery()
    )
    next_due = (
        select(due.id, due.due_at)
        .where(
            due.endpoint_id == waiting.c.key,
            due.due_at <= func.now(),
            or_(due.leased_until.is_(None), due.leased_until < func.now()),
        )
        .order_by(due.due_at)
        .limit(func.greatest(0, queue.max_concurrent_per_endpoint - busy))
        .correlate(waiting)
        .lateral("next_due")
    )
    of_endpoints = (
        select(endpoint.c.project_id, next_due.c.id, next_due.c.due_at)
        .select_from(waiting)
        .join(endpoint, true())
        .join(next_due, true())
        .cte("of_endpoints")
        .prefix_with("MATERIALIZED", dialect="postgresql")
    )
    return longest_due_of(of_endpoints)


def _of(health: Health) -> Callable[[object], Select[Any]]:
    return lambda _: candidates(health)


of_fast_endpoints = _of("fast")
of_slow_endpoints = _of("slow")
of_failing_endpoints = _of("failing")
