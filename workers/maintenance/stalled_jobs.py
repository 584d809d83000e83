"""Jobs without news for their state's deadline: an event says so, once until there are news again, and a metric counts.

Nothing is done to the job: what helps is for people to decide. The deadlines: `service/upstreams/poll_schedule.py`.
"""

import structlog
from prometheus_client import Counter
from sqlalchemy import ColumnElement, Float, and_, case, cast, func, or_, select, update

from service.database.engine import Database
from service.database.tables import Job
from service.jobs.record import NewEvent, add_events
from service.upstreams.poll_schedule import STALLED_AFTER_SECONDS

log = structlog.get_logger()

BATCH = 500

STALLED = Counter("tunegate_job_stalls_total", "Jobs that had no news for their state's deadline.", ["state"])


async def tell_of_stalled(db: Database) -> int:
    """Tell of jobs that have newly stalled. Returns how many."""
    async with db.worker() as session:
        found = await session.execute(
            update(Job)
            .where(Job.id.in_(select(Job.id).where(stalled()).limit(BATCH)), stalled())
            .values(stalled_at=func.clock_timestamp())
            .returning(Job.id, Job.project_id, Job.state, Job.upstream_status, _quiet_seconds())
            .execution_options(synchronize_session=False)
        )
        rows = found.all()
        for job_id, project_id, state, status, quiet_seconds in rows:
            where = f"{state}, {status} at the upstream" if state == "running" else state
            message = f"The job has stalled: no news for {_spoken(float(quiet_seconds))} ({where}). Still looking"
            await add_events(session, job_id, project_id, [NewEvent(message=message, level="warn")])
    for job_id, project_id, state, status, quiet_seconds in rows:
        STALLED.labels(state).inc()
        log.warning(
            "job.stalled",
            job=job_id,
            project=project_id,
            state=state,
            upstream_status=status,
            quiet_seconds=int(quiet_seconds),
        )
    return len(rows)


def stalled() -> ColumnElement[bool]:
    """The condition under which a job has stalled and nobody was told."""
    deadlines = [
        (
            and_(Job.state == state, Job.upstream_status == status) if status else Job.state == state,
            seconds,
        )
        for name, seconds in STALLED_AFTER_SECONDS.items()
        for state, _, status in [name.partition("/")]
    ]
    paused = and_(Job.state == "running", or_(Job.upstream_status == "paused", Job.pause_sent))
    return and_(
        Job.due_at.is_not(None), Job.stalled_at.is_(None), ~func.coalesce(paused, False),
        _quiet_seconds() > case(*deadlines),
    )  # fmt: skip


def _quiet_seconds() -> ColumnElement[float]:
    return cast(func.extract("epoch", func.now() - func.coalesce(Job.last_update_at, Job.created_at)), Float)


def _spoken(seconds: float) -> str:
    return f"{seconds / 3600:.0f} hours" if seconds >= 2 * 3600 else f"{seconds / 60:.0f} minutes"
