"""Queries for jobs, their checkpoints, metrics and timeline, within one project."""

import datetime as dt
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import CTE, ColumnElement, bindparam, exists, func, literal_column, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from service.database.event_log import EventLog
from service.database.reads import Query, Reader, columns
from service.database.tables import Checkpoint, Job, JobEvent, JobMetadataPair, JobMetric, JobState
from service.errors import NotFound, unknown_cursor
from service.states import QUEUED, State

EVENTS = EventLog(JobEvent, JobEvent.job_id)
"""The events of jobs."""


class JobRow(NamedTuple):
    """The columns of a job that its callers see, and those that decide whether a view is recorded."""

    id: str
    project_id: str
    state: State
    model: str
    training_file_id: str
    validation_file_id: str | None
    suffix: str | None
    seed: int
    caller_metadata: dict[str, str] | None
    integrations: list[Any] | None
    method: dict[str, Any]
    adapter: dict[str, Any] | None
    n_epochs: int | None
    created_at: dt.datetime
    finished_at: dt.datetime | None
    estimated_finish_at: dt.datetime | None
    upstream_status: str | None
    last_viewed_at: dt.datetime | None
    fine_tuned_model: str | None
    trained_tokens: int | None
    result_file_ids: list[str]
    error_code: str | None
    error_message: str | None
    error_param: str | None
    cost_micros: int | None
    expected_micros: int | None
    tokens_per_second: float | None
    duration_seconds: float | None
    verdict: dict[str, Any] | None
    experiment_id: str | None
    experiment_arm: int | None


_JOB = Query(
    JobRow,
    select(*columns(Job, JobRow)).where(Job.project_id == bindparam("project_id"), Job.id == bindparam("job_id")),
)


async def read_job(reader: Reader, project_id: str, job_id: str) -> JobRow:
    """The job as callers see it. Raises `NotFound`."""
    row = await reader.first(_JOB, project_id=project_id, job_id=job_id)
    if row is None:
        raise _no_such_job(job_id)
    return row


async def get_job(session: AsyncSession, project_id: str, job_id: str, *, lock: bool = False) -> Job:
    """The job, or `NotFound`."""
    query = select(Job).where(Job.project_id == project_id, Job.id == job_id)
    row = (await session.scalars(query.with_for_update() if lock else query)).one_or_none()
    if row is None:
        raise _no_such_job(job_id)
    return row


async def list_jobs(
    session: AsyncSession, project_id: str, *, after: str | None, limit: int, metadata: Mapping[str, str] | str | None
) -> Sequence[Job]:
    """Up to `limit + 1` jobs, newest first, that carry all of `metadata` (`"null"`: none at all)."""
    query = select(Job).where(Job.project_id == project_id)
    if after is not None:
        known = await session.scalar(select(Job.id).where(Job.project_id == project_id, Job.id == after))
        if known is None:
            raise unknown_cursor(after)
        query = query.where(Job.id < after)
    if metadata == "null":
        query = query.where(Job.caller_metadata.is_(None))
    elif isinstance(metadata, Mapping) and metadata:
        found = _with_metadata(project_id, metadata, after=after, limit=limit + 1)
        query = query.join(found, found.c.job_id == Job.id)
    return (await session.scalars(query.order_by(Job.id.desc().nulls_last()).limit(limit + 1))).all()


def _with_metadata(project_id: str, metadata: Mapping[str, str], *, after: str | None, limit: int) -> CTE:
    """The ids of the newest jobs that carry all pairs, read in the order of the pairs' primary key.

    The pairs are literals of the SQL, and not parameters, so that Postgres always plans for these: a plan for any pair
    could begin with one that every job has.
    """
    first, *further = [_pair(key, value) for key, value in metadata.items()]
    table = JobMetadataPair
    query = select(table.job_id).where(table.project_id == project_id, table.pair == first)
    for pair in further:
        other = aliased(table)
        query = query.where(
            exists().where(other.project_id == project_id, other.pair == pair, other.job_id == table.job_id)
        )
    if after is not None:
        query = query.where(table.job_id < after)
    newest = query.order_by(table.job_id.desc()).limit(limit).cte("with_metadata")
    return newest.prefix_with("MATERIALIZED", dialect="postgresql")


def _pair(key: str, value: str) -> ColumnElement[bytes]:
    digest = hashlib.sha256(f"{key}\0{value}".encode()).hexdigest()  # no text of Postgres contains a NUL
    return func.decode(bindparam(None, digest, literal_execute=True), literal_column("'hex'"))


async def list_checkpoints(
    session: AsyncSession, project_id: str, job_id: str, *, after: str | None, limit: int
) -> Sequence[Checkpoint]:
    """Up to `limit + 1` checkpoints, newest first."""
    query = select(Checkpoint).where(Checkpoint.project_id == project_id, Checkpoint.job_id == job_id)
    if after is not None:
        step = await session.scalar(
            select(Checkpoint.step_number).where(
                Checkpoint.project_id == project_id, Checkpoint.job_id == job_id, Checkpoint.id == after
            )
        )
        if step is None:
            raise unknown_cursor(after)
        query = query.where(Checkpoint.step_number < step)
    return (await session.scalars(query.order_by(Checkpoint.step_number.desc()).limit(limit + 1))).all()


async def list_metrics(session: AsyncSession, project_id: str, job_id: str) -> Sequence[JobMetric]:
    """The metrics of all steps, in order."""
    query = select(JobMetric).where(JobMetric.project_id == project_id, JobMetric.job_id == job_id)
    return (await session.scalars(query.order_by(JobMetric.step))).all()


async def list_states(session: AsyncSession, project_id: str, job_id: str) -> Sequence[JobState]:
    """The entries of the timeline, in order."""
    query = select(JobState).where(JobState.project_id == project_id, JobState.job_id == job_id)
    return (await session.scalars(query.order_by(JobState.sequence))).all()


async def count_queued(session: AsyncSession, project_id: str) -> int:
    """The number of jobs that count towards the project's limit of queued jobs."""
    counted: Any = await session.scalar(
        select(func.count())
        .select_from(Job)
        .where(Job.project_id == project_id, Job.finished_at.is_(None), Job.state.in_(QUEUED))
    )
    return int(counted)


def _no_such_job(job_id: str) -> NotFound:
    return NotFound(f"Could not find fine tune: {job_id}", param="fine_tuning_job_id", code="fine_tune_not_found")
