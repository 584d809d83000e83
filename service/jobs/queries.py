"""Queries for jobs, their checkpoints, metrics and timeline, within one project."""

import datetime as dt
from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import bindparam, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from service.database.event_log import EventLog
from service.database.reads import Query, Reader, columns
from service.database.tables import ApiKey, Checkpoint, File, Job, JobEvent, JobMetric, JobState, ServiceAccount
from service.errors import NotFound, unknown_cursor
from service.jobs.names import JobNames
from service.states import QUEUED, State

EVENTS = EventLog(JobEvent, JobEvent.job_id)
"""The events of jobs."""


class JobRow(NamedTuple):
    """The columns of a job that its callers see, and those that say why it waits and whether a view is recorded."""

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
    started_at: dt.datetime | None
    finished_at: dt.datetime | None
    estimated_finish_at: dt.datetime | None
    pause_requested: bool
    waiting_reason: str | None
    upstream_status: str | None
    upstream_queue_place: int | None
    last_viewed_at: dt.datetime | None
    cancel_requested_at: dt.datetime | None
    fine_tuned_model: str | None
    trained_tokens: int | None
    result_file_ids: list[str]
    error_code: str | None
    error_message: str | None
    error_param: str | None
    expected_micros: int | None
    cost_micros: int | None
    train_loss: float | None
    train_loss_step: int | None
    best_train_loss: float | None
    best_train_loss_step: int | None
    valid_loss: float | None
    valid_loss_step: int | None
    best_valid_loss: float | None
    best_valid_loss_step: int | None
    valid_loss_is_full: bool
    tokens_per_second: float | None
    duration_seconds: float | None
    warnings: list[Any] | None
    verdict: dict[str, Any] | None
    experiment_id: str | None
    experiment_arm: int | None
    api_key_id: str | None


class NamedJob(NamedTuple):
    """A job with the names of what it refers to, which are shown also when that was deleted."""

    row: JobRow
    names: JobNames


def _named_job(*values: Any) -> NamedJob:
    count = len(JobRow._fields)
    return NamedJob(JobRow(*values[:count]), JobNames(*values[count:]))


_TRAINING, _VALIDATION = aliased(File), aliased(File)
JOB = Query(
    _named_job,
    select(
        *columns(Job, JobRow),
        _TRAINING.filename,
        _VALIDATION.filename,
        ApiKey.name,
        ServiceAccount.id,
        ServiceAccount.name,
    )
    .outerjoin(_TRAINING, (_TRAINING.project_id == Job.project_id) & (_TRAINING.id == Job.training_file_id))
    .outerjoin(_VALIDATION, (_VALIDATION.project_id == Job.project_id) & (_VALIDATION.id == Job.validation_file_id))
    .outerjoin(ApiKey, (ApiKey.project_id == Job.project_id) & (ApiKey.id == Job.api_key_id))
    .outerjoin(
        ServiceAccount,
        (ServiceAccount.project_id == ApiKey.project_id) & (ServiceAccount.id == ApiKey.service_account_id),
    )
    .where(Job.project_id == bindparam("project_id"), Job.id == bindparam("job_id")),
)


async def read_job(reader: Reader, project_id: str, job_id: str) -> NamedJob:
    """The job as callers see it. Raises `NotFound`."""
    found = await reader.first(JOB, project_id=project_id, job_id=job_id)
    if found is None:
        raise _no_such_job(job_id)
    return found


async def get_job(session: AsyncSession, project_id: str, job_id: str, *, lock: bool = False) -> Job:
    """The job, or `NotFound`."""
    query = select(Job).where(Job.project_id == project_id, Job.id == job_id)
    row = (await session.scalars(query.with_for_update() if lock else query)).one_or_none()
    if row is None:
        raise _no_such_job(job_id)
    return row


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
