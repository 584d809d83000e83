"""Records when a caller last viewed a running job: fetched it, its events, checkpoints or metrics, or its event stream.

A job that was viewed within the last minute is polled by itself, with its events and checkpoints, however many jobs its
account has.
"""

import datetime as dt

from sqlalchemy import case, func, or_, update
from sqlalchemy.ext.asyncio import AsyncSession

from service.database.leased_work import JOBS, wake
from service.database.tables import Job
from service.jobs.queries import JobRow

RECENTLY_VIEWED = dt.timedelta(seconds=60)
RECORD_INTERVAL = dt.timedelta(seconds=20)
"""Views are recorded at most this often, so that frequent requests do not write the row each time."""


def is_view_due(job: Job | JobRow) -> bool:
    """Whether a view of the job now is to be recorded: the job runs, and no view was recorded lately."""
    viewed_at = job.last_viewed_at
    return job.state == "running" and (viewed_at is None or dt.datetime.now(dt.UTC) - viewed_at >= RECORD_INTERVAL)


async def record_view(session: AsyncSession, job: Job | JobRow) -> None:
    """Record a caller's view of a running job. The first view in a minute makes the job due for a poll now."""
    if not is_view_due(job):
        return
    now = func.clock_timestamp()
    not_recently_viewed = or_(Job.last_viewed_at.is_(None), Job.last_viewed_at < now - RECENTLY_VIEWED)
    recorded = await session.scalar(
        update(Job)
        .where(
            Job.project_id == job.project_id,
            Job.id == job.id,
            Job.state == "running",
            or_(Job.last_viewed_at.is_(None), Job.last_viewed_at < now - RECORD_INTERVAL),
        )
        .values(last_viewed_at=now, due_at=case((not_recently_viewed, func.least(Job.due_at, now)), else_=Job.due_at))
        .returning(Job.id)
        .execution_options(synchronize_session=False)
    )
    if recorded is not None and job.last_viewed_at is None:
        wake(session, JOBS, job.id, "viewed")
