"""Jobs and what belongs to them, read within one project."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from service.database.event_log import EventLog
from service.database.tables import Checkpoint, Job, JobEvent, JobMetric, JobState
from service.errors import NotFound, unknown_cursor
from service.states import QUEUED

EVENTS = EventLog(JobEvent, JobEvent.job_id)
"""What jobs tell."""


async def get_job(session: AsyncSession, project_id: str, job_id: str, *, lock: bool = False) -> Job:
    """The job, or `NotFound`."""
    query = select(Job).where(Job.project_id == project_id, Job.id == job_id)
    row = (await session.scalars(query.with_for_update() if lock else query)).one_or_none()
    if row is None:
        raise NotFound(f"Could not find fine tune: {job_id}", param="fine_tuning_job_id", code="fine_tune_not_found")
    return row


async def list_jobs(
    session: AsyncSession, project_id: str, *, after: str | None, limit: int, metadata: Mapping[str, str] | str | None
) -> Sequence[Job]:
    """Up to `limit + 1` jobs, newest first, that carry all of `metadata` (`"null"`: none at all)."""
    wanted = select(Job).where(Job.project_id == project_id)
    if metadata == "null":
        wanted = wanted.where(Job.caller_metadata.is_(None))
    elif metadata:
        wanted = wanted.where(Job.caller_metadata.contains(metadata))
    if after is not None:
        known = await session.scalar(select(Job.id).where(Job.project_id == project_id, Job.id == after))
        if known is None:
            raise unknown_cursor(after)
        wanted = wanted.where(Job.id < after)
    return (await session.scalars(wanted.order_by(Job.id.desc()).limit(limit + 1))).all()


async def list_checkpoints(
    session: AsyncSession, project_id: str, job_id: str, *, after: str | None, limit: int
) -> Sequence[Checkpoint]:
    """Up to `limit + 1` checkpoints, newest first."""
    wanted = select(Checkpoint).where(Checkpoint.project_id == project_id, Checkpoint.job_id == job_id)
    if after is not None:
        step = await session.scalar(
            select(Checkpoint.step_number).where(
                Checkpoint.project_id == project_id, Checkpoint.job_id == job_id, Checkpoint.id == after
            )
        )
        if step is None:
            raise unknown_cursor(after)
        wanted = wanted.where(Checkpoint.step_number < step)
    return (await session.scalars(wanted.order_by(Checkpoint.step_number.desc()).limit(limit + 1))).all()


async def list_metrics(session: AsyncSession, project_id: str, job_id: str) -> Sequence[JobMetric]:
    """All steps, in order."""
    wanted = select(JobMetric).where(JobMetric.project_id == project_id, JobMetric.job_id == job_id)
    return (await session.scalars(wanted.order_by(JobMetric.step))).all()


async def list_states(session: AsyncSession, project_id: str, job_id: str) -> Sequence[JobState]:
    """The timeline, in order."""
    wanted = select(JobState).where(JobState.project_id == project_id, JobState.job_id == job_id)
    return (await session.scalars(wanted.order_by(JobState.sequence))).all()


async def count_queued(session: AsyncSession, project_id: str) -> int:
    """How many jobs wait for their turn."""
    counted: Any = await session.scalar(
        select(func.count()).select_from(Job).where(Job.project_id == project_id, Job.state.in_(QUEUED))
    )
    return int(counted)
