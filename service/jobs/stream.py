"""A job's events as server-sent events."""

import msgspec
from litestar.response import Stream

from service.database.engine import Database
from service.http import event_streams
from service.http.event_streams import BATCH, AccessCheck, EventBatch, StreamedEvent
from service.jobs.last_viewed import record_view
from service.jobs.presentation import show_event
from service.jobs.queries import EVENTS, get_job
from service.states import ENDED


async def event_stream(
    db: Database, project_id: str, job_id: str, last_event_id: str | None, *, access_check: AccessCheck
) -> Stream:
    """Stream the events after `last_event_id`, or all of them without one.

    Raises `NotFound` without such a job and `InvalidRequest` for an unknown event.
    """
    begin = 0
    async with db.project(project_id) as session:
        await get_job(session, project_id, job_id)
        if last_event_id:
            begin = await EVENTS.sequence_of(session, project_id, job_id, last_event_id)

    async def fetch(sequence: int) -> EventBatch:
        async with db.project(project_id) as session:
            job = await get_job(session, project_id, job_id)
            await record_view(session, job)
            ended = job.state in ENDED
            rows = await EVENTS.since(session, project_id, job_id, sequence=sequence, limit=BATCH)
        return EventBatch(
            [StreamedEvent(row.id, row.sequence, msgspec.json.encode(show_event(row))) for row in rows], ended
        )

    return event_streams.event_stream(fetch, name="fine_tuning.job.event", sequence=begin, access_check=access_check)
