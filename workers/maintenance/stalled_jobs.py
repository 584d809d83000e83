"""Reports stalled jobs: those that received no update within their state's deadline.

A job gets one event for each stall, and a metric counts it. The job itself is not changed: an operator decides.
The deadlines are in `service/upstreams/poll_schedule.py`.
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

STALLED = Counter("tunegate_job_stalls_total", "Jobs that received no update within their state's deadline.", ["state"])


async def report_stalled_jobs(db: Database) -> int:
    """Report the jobs that have stalled since the last call. Returns their number."""
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
            message = (
                f"The job has stalled: no update for {_duration(float(quiet_seconds))} ({where}). It is still polled"
            )
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
    """The condition for a job to have stalled without having been reported."""
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


def _duration(seconds: float) -> str:
    return f"{seconds / 3600:.0f} hours" if seconds >= 2 * 3600 else f"{seconds / 60:.0f} minutes"
