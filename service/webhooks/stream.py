"""Streams a project's events as server-sent events when they happen; `tunegate listen` reads these streams.

Between two polls a stream holds no transaction and no connection, only its position in the project's events. The data
of each event is the exact body that endpoints receive, so a client that signs and forwards it sends the same bytes.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence

from litestar.response import Stream
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from service.database.engine import Database
from service.database.sqlstates import sqlstate_of
from service.database.tables import WebhookEvent
from service.errors import ApiError, QuotaExceeded
from service.http.event_streams import HEADERS, KEEP_ALIVE_SECONDS, POLL_SECONDS, AccessCheck
from service.http.idempotency import LOCK_NOT_AVAILABLE
from service.webhooks import outbox
from service.webhooks.queries import event_position, events_after, newest_event

MAX_STREAMS = 20
"""The largest number of streams of one project that are open in one API process."""

BATCH = 100
START = "start"
"""The event id of the position before a project's first event, so that a client without events can resume there."""


class EventStreams:
    """The open streams of this process.

    A stream asks for new events every `poll_seconds`, and sends a comment after `keep_alive_seconds` without any.
    """

    def __init__(
        self, db: Database, *, poll_seconds: float = POLL_SECONDS, keep_alive_seconds: float = KEEP_ALIVE_SECONDS
    ) -> None:
        self._db = db
        self._poll_seconds = poll_seconds
        self._keep_alive_seconds = keep_alive_seconds
        self._open: Counter[str] = Counter()

    async def open(
        self, project_id: str, *, types: Sequence[str], last_event_id: str | None, access_check: AccessCheck
    ) -> Stream:
        """Stream the events after `last_event_id`, or from now on when it is None.

        Raises `InvalidRequest` for an unknown event and `QuotaExceeded` above the limit of streams.
        """
        if self._open[project_id] >= MAX_STREAMS:
            raise QuotaExceeded(
                f"The project has {MAX_STREAMS} event streams open here, which is the limit. Close one of them.",
                code="too_many_streams",
            )
        async with self._db.project(project_id) as session:
            start = await _start_position(session, project_id, last_event_id)
        return Stream(self._counted(project_id, types, start, access_check), headers=HEADERS)

    async def _counted(
        self, project_id: str, types: Sequence[str], start: tuple[str, int], access_check: AccessCheck
    ) -> AsyncIterator[bytes]:
        self._open[project_id] += 1
        try:
            async for chunk in self._encoded_events(project_id, types, start, access_check):
                yield chunk
        finally:
            self._open[project_id] -= 1
            if not self._open[project_id]:
                del self._open[project_id]

    async def _encoded_events(
        self, project_id: str, types: Sequence[str], start: tuple[str, int], access_check: AccessCheck
    ) -> AsyncIterator[bytes]:
        last_id, position = start
        yield f"id: {last_id}\n: listening\n\n".encode()
        quiet_seconds = 0.0
        while True:
            try:
                await access_check()
            except ApiError:
                return
            rows = await _next_events(self._db, project_id, types, position)
            for row in rows:
                yield f"id: {row.id}\nevent: {row.type}\ndata: ".encode() + row.body + b"\n\n"
                position, quiet_seconds = row.position, 0.0
            if len(rows) == BATCH:
                continue
            if quiet_seconds >= self._keep_alive_seconds:
                yield b": still here\n\n"
                quiet_seconds = 0.0
            await asyncio.sleep(self._poll_seconds)
            quiet_seconds += self._poll_seconds


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
