"""A project's webhook events as the source of a stream, when they happen; `tunegate listen` reads these streams.

The data of each event is the exact body that endpoints receive, so a client that signs and forwards it sends the same
bytes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from service.database.engine import Database
from service.database.sqlstates import sqlstate_of
from service.database.tables import WebhookEvent
from service.http.event_streams import EventBatch, StreamedEvent
from service.http.idempotency import LOCK_NOT_AVAILABLE
from service.webhooks import outbox
from service.webhooks.queries import event_position, events_after, newest_event

BATCH = 100
START = "start"
"""The event id of the position before a project's first event, so that a client without events can resume there."""


@dataclass(frozen=True, slots=True)
class WebhookEvents:
    """The events of some types after `last_event_id`, or from now on when it is None."""

    db: Database
    project_id: str
    types: Sequence[str]
    last_event_id: str | None

    async def begin(self) -> tuple[int, bytes]:
        """Raises `InvalidRequest` for an unknown event. The first bytes have the id at which a client resumes."""
        async with self.db.project(self.project_id) as session:
            last_id, position = await _start_position(session, self.project_id, self.last_event_id)
        return position, f"id: {last_id}\n: listening\n\n".encode()

    async def fetch(self, position: int) -> EventBatch:
        """The next events. A project's events never end."""
        rows = await _next_events(self.db, self.project_id, self.types, position)
        events = [StreamedEvent(row.id, row.type, row.position, row.body) for row in rows]
        return EventBatch(events, full=len(rows) == BATCH, ended=False)


async def _start_position(session: AsyncSession, project_id: str, last_event_id: str | None) -> tuple[str, int]:
    if last_event_id == START:
        return START, 0
    if last_event_id is not None:
        return last_event_id, await event_position(session, project_id, last_event_id, param="Last-Event-ID")
    newest = await newest_event(session, project_id)
    return (START, 0) if newest is None else (newest.id, newest.position)


async def _next_events(db: Database, project_id: str, types: Sequence[str], position: int) -> Sequence[WebhookEvent]:
    """The next events. The project's lock is taken only if there are any, to wait for writers that began before."""
    async with db.project(project_id) as session:
        if not await events_after(session, project_id, types=types, position=position, limit=1):
            return []
    try:
        async with db.project(project_id) as session:
            await outbox.settle(session, project_id)
            return await events_after(session, project_id, types=types, position=position, limit=BATCH)
    except DBAPIError as error:
        if sqlstate_of(error) == LOCK_NOT_AVAILABLE:
            return []  # a writer takes long; the next poll tries again
        raise
