"""The outbox: an event is written in the same transaction as the change that caused it, and sent afterwards.

A crash leaves both or neither, so no event is lost and none reports a change that did not happen.

Events get their position before they are committed, and may commit in another order. A reader that follows positions
would skip events that commit late. So a writer holds a shared lock of its project from before the position is assigned
until it commits, and a reader takes the lock exclusively: it then sees every event up to the last position.
"""

import datetime as dt
from collections.abc import Mapping

from sqlalchemy import Text, any_, bindparam, func, insert, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from service.database.advisory_locks import EVENT_ORDER
from service.database.leased_work import DELIVERIES, wake
from service.database.row_arrays import parameters, rows_of
from service.database.tables import Base, WebhookDelivery, WebhookEndpoint, WebhookEvent
from service.ids import new_id
from service.webhooks.event_types import event_body

SETTLE_MILLISECONDS = 200
"""How long a reader waits for running writers; new writers queue behind it meanwhile."""

_tables = Base.metadata.tables
_EVENT = insert(_tables[WebhookEvent.__tablename__])
_SUBSCRIBED = select(WebhookEndpoint.id).where(
    WebhookEndpoint.project_id == bindparam("project"),
    WebhookEndpoint.deleted_at.is_(None),
    WebhookEndpoint.disabled_at.is_(None),
    bindparam("event_type", type_=Text) == any_(WebhookEndpoint.event_types),
)
_DELIVERY_TYPES = {"id": Text(), "endpoint_id": Text()}
_new = rows_of("new", _DELIVERY_TYPES)
_DELIVERIES = insert(_tables[WebhookDelivery.__tablename__]).from_select(
    ["id", "project_id", "endpoint_id", "event_id", "due_at"],
    select(_new.c.id, bindparam("project", type_=Text), _new.c.endpoint_id, bindparam("event", type_=Text), func.now()),
)


async def emit(
    session: AsyncSession, *, project_id: str, type: str, subject: str, data: Mapping[str, object], now: dt.datetime
) -> str:
    """Record an event about `subject`, and one delivery, due at once, for each enabled endpoint that subscribed to it.

    Runs in the caller's transaction, in the project's or the worker's scope. An event without subscribers is recorded
    too: an endpoint can request it later (`recover`). Returns the event's id. Raises `ValueError` for an unknown type.
    """
    event_id = new_id("evt_")
    body = event_body(event_id, type=type, subject=subject, data=data, now=now)
    await session.execute(EVENT_ORDER.share(project_id))
    event = {"id": event_id, "project_id": project_id, "type": type, "subject": subject, "body": body}
    await session.execute(_EVENT, event | {"created_at": now})
    endpoint_ids = await session.scalars(_SUBSCRIBED, {"project": project_id, "event_type": type})
    deliveries = [{"id": new_id("whd_"), "endpoint_id": endpoint_id} for endpoint_id in endpoint_ids]
    if not deliveries:
        return event_id
    await session.execute(
        _DELIVERIES, {"project": project_id, "event": event_id, **parameters(_DELIVERY_TYPES, deliveries)}
    )
    wake(session, DELIVERIES, event_id, 0)
    return event_id


async def settle(session: AsyncSession, project_id: str) -> None:
    """Wait, in the reader's transaction, until every event of the project that has a position is committed.

    Raises `DBAPIError` with LOCK_NOT_AVAILABLE when a writer takes longer than `SETTLE_MILLISECONDS`.
    """
    await session.execute(text(f"SET LOCAL lock_timeout = '{SETTLE_MILLISECONDS}ms'"))
    await session.execute(EVENT_ORDER.take(project_id))
