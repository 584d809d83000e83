"""Reads webhook endpoints, events and deliveries of one project."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncSession

from service.database.tables import WebhookAttempt, WebhookDelivery, WebhookEndpoint, WebhookEvent
from service.errors import NotFound, unknown_cursor
from service.http.wire_types import PageQuery
from service.webhooks.schemas import ListDeliveries, ListEvents


@dataclass(frozen=True, slots=True)
class DeliveryWithAttempts:
    """A delivery, the type of its event, and its attempts in order."""

    row: WebhookDelivery
    event_type: str
    attempts: Sequence[WebhookAttempt]


async def get_endpoint(
    session: AsyncSession, project_id: str, endpoint_id: str, *, lock: bool = False
) -> WebhookEndpoint:
    """The endpoint. `lock` locks its row until the transaction ends. Raises `NotFound`."""
    query = select(WebhookEndpoint).where(
        WebhookEndpoint.project_id == project_id,
        WebhookEndpoint.id == endpoint_id,
        WebhookEndpoint.deleted_at.is_(None),
    )
    if lock:
        query = query.with_for_update(key_share=True)
    row = (await session.scalars(query)).one_or_none()
    if row is None:
        raise NotFound(f"No such webhook endpoint: {endpoint_id}", param="id", code="webhook_endpoint_not_found")
    return row


async def list_endpoints(session: AsyncSession, project_id: str, query: PageQuery) -> Sequence[WebhookEndpoint]:
    """Up to `limit + 1` endpoints, newest first. Raises `InvalidRequest` for an unknown cursor."""
    table = WebhookEndpoint
    statement = select(table).where(table.project_id == project_id, table.deleted_at.is_(None))
    if query.after is not None:
        known = select(table.id).where(table.project_id == project_id, table.id == query.after)
        if await session.scalar(known) is None:
            raise unknown_cursor(query.after)
        statement = statement.where(table.id < query.after)
    return (await session.scalars(statement.order_by(table.id.desc()).limit(query.limit + 1))).all()


async def list_deliveries(
    session: AsyncSession, project_id: str, endpoint_id: str, query: ListDeliveries
) -> list[DeliveryWithAttempts]:
    """Up to `limit + 1` deliveries of an endpoint, newest first. Raises `InvalidRequest` for an unknown cursor."""
    table = WebhookDelivery
    of_endpoint = (table.project_id == project_id) & (table.endpoint_id == endpoint_id)
    statement = select(table).where(of_endpoint)
    if query.status is not None:
        statement = statement.where(table.status == query.status)
    if query.after is not None:
        if await session.scalar(select(table.id).where(of_endpoint, table.id == query.after)) is None:
            raise unknown_cursor(query.after)
        statement = statement.where(table.id < query.after)
    rows = (await session.scalars(statement.order_by(table.id.desc().nulls_last()).limit(query.limit + 1))).all()
    return await with_attempts(session, project_id, rows)


async def get_delivery(session: AsyncSession, project_id: str, delivery_id: str) -> WebhookDelivery:
    """The delivery, with its row locked. Raises `NotFound`."""
    query = (
        select(WebhookDelivery)
        .where(WebhookDelivery.project_id == project_id, WebhookDelivery.id == delivery_id)
        .with_for_update()
    )
    row = (await session.scalars(query)).one_or_none()
    if row is None:
        raise NotFound(f"No such webhook delivery: {delivery_id}", param="id", code="webhook_delivery_not_found")
    return row


async def list_events(session: AsyncSession, project_id: str, query: ListEvents) -> Sequence[WebhookEvent]:
    """Up to `limit + 1` events, newest first. Raises `InvalidRequest` for an unknown cursor."""
    statement = _events(project_id, query.types())
    if query.after is not None:
        statement = statement.where(WebhookEvent.position < await event_position(session, project_id, query.after))
    return (await session.scalars(statement.order_by(WebhookEvent.position.desc()).limit(query.limit + 1))).all()


async def get_event(session: AsyncSession, project_id: str, event_id: str) -> WebhookEvent:
    """The event. Raises `NotFound`."""
    row = (await session.scalars(_events(project_id, ()).where(WebhookEvent.id == event_id))).one_or_none()
    if row is None:
        raise NotFound(f"No such webhook event: {event_id}", param="id", code="webhook_event_not_found")
    return row


async def event_position(session: AsyncSession, project_id: str, event_id: str, *, param: str = "after") -> int:
    """An event's position in the project's sequence. Raises `InvalidRequest` for an id that is not in it."""
    query = select(WebhookEvent.position).where(WebhookEvent.project_id == project_id, WebhookEvent.id == event_id)
    position = await session.scalar(query)
    if position is None:
        raise unknown_cursor(event_id, param=param)
    return position


async def newest_event(session: AsyncSession, project_id: str) -> WebhookEvent | None:
    """The event with the last position, or None."""
    return (await session.scalars(_events(project_id, ()).order_by(WebhookEvent.position.desc()).limit(1))).first()


async def events_after(
    session: AsyncSession, project_id: str, *, types: Sequence[str], position: int, limit: int
) -> Sequence[WebhookEvent]:
    """Events after a position, oldest first; an empty `types` selects all types."""
    statement = _events(project_id, types).where(WebhookEvent.position > position)
    return (await session.scalars(statement.order_by(WebhookEvent.position).limit(limit))).all()


async def with_attempts(
    session: AsyncSession, project_id: str, rows: Sequence[WebhookDelivery]
) -> list[DeliveryWithAttempts]:
    """The deliveries with their events' types and their attempts."""
    types = await session.execute(
        select(WebhookEvent.id, WebhookEvent.type).where(
            WebhookEvent.project_id == project_id, WebhookEvent.id.in_({row.event_id for row in rows})
        )
    )
    type_of = {event.id: event.type for event in types}
    attempts_of: dict[str, list[WebhookAttempt]] = defaultdict(list)
    for attempt in await session.scalars(
        select(WebhookAttempt)
        .where(WebhookAttempt.project_id == project_id, WebhookAttempt.delivery_id.in_([row.id for row in rows]))
        .order_by(WebhookAttempt.delivery_id, WebhookAttempt.attempt)
    ):
        attempts_of[attempt.delivery_id].append(attempt)
    return [DeliveryWithAttempts(row, type_of[row.event_id], attempts_of[row.id]) for row in rows]


def _events(project_id: str, types: Sequence[str]) -> Select[WebhookEvent]:
    statement = select(WebhookEvent).where(WebhookEvent.project_id == project_id)
    return statement.where(WebhookEvent.type.in_(types)) if types else statement
