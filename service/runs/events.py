"""The events of a run over HTTP: as a page, or as a stream until the run has ended."""

import msgspec
from litestar.response import Stream

from service.database.engine import Database
from service.http import event_streams
from service.http.bodies import read_query
from service.http.event_streams import BATCH, AccessCheck, EventBatch, StreamedEvent
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
        return await _stream(db, who.project_id, kind, run_id, last_event_id, access_check=access_check(request))
    async with db.project(who.project_id) as session:
        await get_run(session, who.project_id, kind, run_id)
        rows = await EVENTS.page(session, who.project_id, run_id, after=query.after, limit=query.limit)
    return page_of(rows, query.limit, show_event, lambda event: event.id)


async def _stream(
    db: Database, project_id: str, kind: RunKind, run_id: str, last_event_id: str | None, *, access_check: AccessCheck
) -> Stream:
    begin = 0
    async with db.project(project_id) as session:
        await get_run(session, project_id, kind, run_id)
        if last_event_id:
            begin = await EVENTS.sequence_of(session, project_id, run_id, last_event_id)

    async def fetch(sequence: int) -> EventBatch:
        async with db.project(project_id) as session:
            ended = (await get_run(session, project_id, kind, run_id)).status not in UNFINISHED_RUNS
            rows = await EVENTS.since(session, project_id, run_id, sequence=sequence, limit=BATCH)
        return EventBatch(
            [StreamedEvent(row.id, row.sequence, msgspec.json.encode(show_event(row))) for row in rows], ended
        )

    return event_streams.event_stream(fetch, name=f"{OBJECTS[kind]}.event", sequence=begin, access_check=access_check)
