"""Who watches a job: somebody who asked for it, or for what it tells, within the last minute, or follows its events.

While it is watched a running job is looked at by itself, with its events and checkpoints, however many there are.
"""

import datetime as dt

from sqlalchemy import case, func, or_, update
from sqlalchemy.ext.asyncio import AsyncSession

from service.database.leased_work import JOBS, wake
from service.database.tables import Job

RECENTLY_VIEWED = dt.timedelta(seconds=60)
NOTED = dt.timedelta(seconds=20)
"""A watcher is written down this often at most, however often it asks."""


async def record_view(session: AsyncSession, job: Job) -> None:
    """Remember that somebody watches a running job; the first to do so has it looked at now."""
    seen_at = job.last_viewed_at
    if job.state != "running" or (seen_at is not None and dt.datetime.now(dt.UTC) - seen_at < NOTED):
        return
    now = func.clock_timestamp()
    unwatched = or_(Job.last_viewed_at.is_(None), Job.last_viewed_at < now - RECENTLY_VIEWED)
    noted = await session.scalar(
        update(Job)
        .where(
            Job.project_id == job.project_id,
            Job.id == job.id,
            Job.state == "running",
            or_(Job.last_viewed_at.is_(None), Job.last_viewed_at < now - NOTED),
        )
        .values(last_viewed_at=now, due_at=case((unwatched, func.least(Job.due_at, now)), else_=Job.due_at))
        .returning(Job.id)
        .execution_options(synchronize_session=False)
    )
    if noted is not None and seen_at is None:
        wake(session, JOBS, job.id, "watched")
