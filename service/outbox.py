"""The outbox: an event is written with the change that caused it, in one transaction, and sent afterwards.

A crash leaves both or none, so an event is neither lost nor told of something that did not happen.
"""

import datetime as dt
from collections.abc import Mapping

from sqlalchemy import any_, func, insert, literal, select
from sqlalchemy.ext.asyncio import AsyncSession

from service import doorbell
from service.ids import new_id
from service.tables import WebhookDelivery, WebhookEndpoint, WebhookEvent
from service.webhooks.event_types import event_body

DELIVER = "deliver_webhook"
"""The workers' function that looks at one delivery."""


async def emit(
    session: AsyncSession, *, project_id: str, type: str, subject: str, data: Mapping[str, object], now: dt.datetime
) -> None:
    """Record an event about `subject` and one delivery, due at once, per enabled endpoint that subscribed to `type`.

    Runs in the caller's transaction, in the project's or the worker's scope. An event that nobody subscribed to is
    recorded too: an endpoint can ask for it later (`recover`). Raises `ValueError` for an unknown type.
    """
    event_id = new_id("evt_")
    body = event_body(event_id, type=type, subject=subject, data=data, now=now)
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
        return
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
        doorbell.hint(session, DELIVER, delivery_id, 0)
