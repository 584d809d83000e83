"""The events of a run over HTTP: as a page, or as a stream until the run has ended."""

from dataclasses import dataclass

import msgspec
from litestar.response import Stream

from service.database.engine import Database
from service.http.bodies import read_query
from service.http.event_streams import BATCH, EventBatch, EventStreams, StreamedEvent
from service.http.pagination import page_of
from service.http.resources import ApiRequest, resource
from service.http.wire_types import Page
from service.identity.requests import access_check, caller
from service.runs.queries import get_run
from service.runs.record import EVENTS, OBJECTS
from service.runs.schemas import ListRunEvents, RunEventObject, show_event
from service.states import UNFINISHED_RUNS, RunKind


async def answer_events(request: ApiRequest, kind: RunKind, run_id: str) -> Page[RunEventObject] | Stream:
    """A page, newest first; with `stream=true` server-sent events from the beginning, or after `Last-Event-ID`."""
    db = resource(request, Database)
    who = caller(request)
    query = read_query(request, ListRunEvents)
    if query.stream:
        last_event_id = request.headers.get("last-event-id") or query.after
        source = RunEvents(db, who.project_id, kind, run_id, last_event_id)
        return await resource(request, EventStreams).open(who.project_id, source, access_check=access_check(request))
    async with db.project(who.project_id) as session:
        await get_run(session, who.project_id, kind, run_id)
        rows = await EVENTS.page(session, who.project_id, run_id, after=query.after, limit=query.limit)
    return page_of(rows, query.limit, show_event, lambda event: event.id)


@dataclass(frozen=True, slots=True)
class RunEvents:
    """The source of a stream: the events after `last_event_id`, or all of them without one."""

    db: Database
    project_id: str
    kind: RunKind
    run_id: str
    last_event_id: str | None

    async def begin(self) -> tuple[int, bytes]:
        """Raises `NotFound` without such a run and `InvalidRequest` for an unknown event."""
        async with self.db.project(self.project_id) as session:
            await get_run(session, self.project_id, self.kind, self.run_id)
            if not self.last_event_id:
                return 0, b""
            return await EVENTS.sequence_of(session, self.project_id, self.run_id, self.last_event_id), b""

    async def fetch(self, position: int) -> EventBatch:
        """The next events, and whether the run had ended before they were read."""
        async with self.db.project(self.project_id) as session:
            ended = (await get_run(session, self.project_id, self.kind, self.run_id)).status not in UNFINISHED_RUNS
            rows = await EVENTS.since(session, self.project_id, self.run_id, sequence=position, limit=BATCH)
        name = f"{OBJECTS[self.kind]}.event"
        events = [StreamedEvent(row.id, name, row.sequence, msgspec.json.encode(show_event(row))) for row in rows]
        return EventBatch(events, full=len(rows) == BATCH, ended=ended)
