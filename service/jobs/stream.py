"""A job's events as the source of a stream."""

from dataclasses import dataclass

import msgspec

from service.database.engine import Database
from service.http.event_streams import BATCH, EventBatch, StreamedEvent
from service.jobs.last_viewed import record_view
from service.jobs.presentation import show_event
from service.jobs.queries import EVENTS, get_job
from service.states import ENDED


@dataclass(frozen=True, slots=True)
class JobEvents:
    """The events after `last_event_id`, or all of them without one."""

    db: Database
    project_id: str
    job_id: str
    last_event_id: str | None

    async def begin(self) -> tuple[int, bytes]:
        """Raises `NotFound` without such a job and `InvalidRequest` for an unknown event."""
        async with self.db.project(self.project_id) as session:
            await get_job(session, self.project_id, self.job_id)
            if not self.last_event_id:
                return 0, b""
            return await EVENTS.sequence_of(session, self.project_id, self.job_id, self.last_event_id), b""

    async def fetch(self, position: int) -> EventBatch:
        """The next events, and whether the job had ended before they were read."""
        async with self.db.project(self.project_id) as session:
            job = await get_job(session, self.project_id, self.job_id)
            await record_view(session, job)
            ended = job.state in ENDED
            rows = await EVENTS.since(session, self.project_id, self.job_id, sequence=position, limit=BATCH)
        events = [
            StreamedEvent(row.id, "fine_tuning.job.event", row.sequence, msgspec.json.encode(show_event(row)))
            for row in rows
        ]
        return EventBatch(events, full=len(rows) == BATCH, ended=ended)
