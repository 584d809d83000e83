"""The outbox: an event is written with the change that caused it, in one transaction, and sent afterwards.

A crash leaves both or none, so an event is neither lost nor told of something that did not happen.

Events get their position before they are committed, and may be committed in another order. Whoever reads them one
after the other would step over those that come late, so a writer holds a shared lock of its project from before the
position is given until it has committed, and a reader takes that lock for itself: what it sees then is all there is.
"""

import datetime as dt
from collections.abc import Mapping

from sqlalchemy import any_, func, insert, literal, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from service.database.advisory_locks import EVENT_ORDER
from service.database.leased_work import DELIVERIES, wake
from service.database.tables import WebhookDelivery, WebhookEndpoint, WebhookEvent
from service.ids import new_id
from service.webhooks.event_types import event_body

SETTLE_MILLISECONDS = 200
"""How long a reader waits for those who write; meanwhile others who begin to write wait behind it."""


async def emit(
    session: AsyncSession, *, project_id: str, type: str, subject: str, data: Mapping[str, object], now: dt.datetime
) -> str:
    """Record an event about `subject` and one delivery, due at once, per enabled endpoint that subscribed to `type`.

    Runs in the caller's transaction, in the project's or the worker's scope. An event that nobody subscribed to is
    recorded too: an endpoint can ask for it later (`recover`). Returns its id. Raises `ValueError` for an unknown type.
    """
    event_id = new_id("evt_")
    body = event_body(event_id, type=type, subject=subject, data=data, now=now)
    await session.execute(EVENT_ORDER.share(project_id))
    await session.execute(
        insert(WebhookEvent).values(
            id=event_id, project_id=project_id, type=type, subject=subject, body=body, created_at=now
        )
    )
    endpoint_ids = await session.scalars(
        select(WebhookEndpoint.id).where(
            WebhookEndpoint.project_id == project_id,
            WebhookEndpoint.deleted_at.is_(None),
            WebhookEndpoint.disabled_at.is_(None),
            literal(type) == any_(WebhookEndpoint.event_types),
        )
    )
    deliveries = [(new_id("whd_"), endpoint_id) for endpoint_id in endpoint_ids]
    if not deliveries:
        return event_id
    await session.execute(
        insert(WebhookDelivery).values(
            [
                {
                    "id": delivery_id,
                    "project_id": project_id,
                    "endpoint_id": endpoint_id,
                    "event_id": event_id,
                    "due_at": func.now(),
                }
                for delivery_id, endpoint_id in deliveries
            ]
        )
    )
    for delivery_id, _ in deliveries:
        wake(session, DELIVERIES, delivery_id, 0)
    return event_id


async def settle(session: AsyncSession, project_id: str) -> None:
    """Wait until every event of the project that has a position is committed; in the reader's transaction.

    Raises `DBAPIError` with LOCK_NOT_AVAILABLE when somebody takes longer than a reader should wait.
    """
    await session.execute(text(f"SET LOCAL lock_timeout = '{SETTLE_MILLISECONDS}ms'"))
    await session.execute(EVENT_ORDER.take(project_id))
