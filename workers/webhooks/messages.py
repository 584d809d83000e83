"""Reads the messages of claimed deliveries. No transaction is open while they are sent."""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import ARRAY, Text, any_, bindparam, select

from service.database.engine import Database
from service.database.tables import WebhookDelivery, WebhookEndpoint, WebhookEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """An endpoint as it was when a message to it was read."""

    id: str
    project_id: str
    url: str
    secret_encrypted: bytes
    old_secret_encrypted: bytes | None
    old_secret_expires_at: dt.datetime | None
    disabled_at: dt.datetime | None
    disabled_reason: str | None
    deleted_at: dt.datetime | None
    failing_since: dt.datetime | None
    slow_since: dt.datetime | None
    updated_at: dt.datetime


@dataclass(frozen=True, slots=True)
class Message:
    """An event's id and body, which is sent byte for byte, and the endpoint that gets it."""

    endpoint: Endpoint
    event_id: str
    body: bytes


_COLUMNS = tuple(Endpoint.__dataclass_fields__)
_MESSAGES = (
    select(
        WebhookDelivery.id,
        WebhookEvent.id,
        WebhookEvent.body,
        *(getattr(WebhookEndpoint, name) for name in _COLUMNS),
    )
    .join(WebhookEndpoint, WebhookEndpoint.id == WebhookDelivery.endpoint_id)
    .join(WebhookEvent, WebhookEvent.id == WebhookDelivery.event_id)
    .where(WebhookDelivery.id == any_(bindparam("ids", type_=ARRAY(Text))))
)


async def read_messages(db: Database, delivery_ids: Sequence[str]) -> Mapping[str, Message]:
    """The messages of deliveries, by the delivery's id. One whose project was deleted has none."""
    async with db.claims() as session:
        rows = await session.execute(_MESSAGES, {"ids": delivery_ids})
    return {
        delivery_id: Message(Endpoint(**dict(zip(_COLUMNS, endpoint, strict=True))), event_id, body)
        for delivery_id, event_id, body, *endpoint in rows
    }
