"""Fetches an upstream job's updates and writes them into our rows, under our names: events, metrics, checkpoints."""

import datetime as dt
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import structlog
from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from service.database.leases import Claim
from service.database.tables import Checkpoint, Job, JobEvent, JobMetric, Model
from service.ids import new_id
from service.jobs.gpu_metering import believed, metered
from service.jobs.lifecycle import upstream_end
from service.jobs.record import NewEvent, add_events
from service.jobs.rules import tuned_name
from service.states import ModelKind
from service.upstreams.poll_schedule import snapshot_of
from service.upstreams.port import UpstreamCheckpoint, UpstreamError, UpstreamEvent, UpstreamJob
from workers.context import AccountContext
from workers.jobs.figures import Step, running_figures
from workers.jobs.translate import translated
from workers.jobs.upload import sent_files

log = structlog.get_logger()

Item = TypeVar("Item")

METRICS = (
    "train_loss",
    "train_mean_token_accuracy",
    "valid_loss",
    "valid_mean_token_accuracy",
    "full_valid_loss",
    "full_valid_mean_token_accuracy",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Updates:
    """What one poll of a job has fetched; `requests` is the number of requests that it took."""

    job: UpstreamJob
    events: list[UpstreamEvent]
    checkpoints: list[UpstreamCheckpoint]
    requests: int = 0


async def fetch_updates(
    ctx: AccountContext, claimed: Claim[Job], *, complete: bool, skip_details_if_ended: bool = False
) -> Updates:
    """Fetch the job with its new events and checkpoints. Raises `UpstreamError` and `TimeoutError` if the job fails.

    `complete`: raises them also if the events or checkpoints cannot be fetched; otherwise those wait for the next poll.
    `skip_details_if_ended`: fetches no events or checkpoints of an ended job, since settling fetches all of them.
    Metrics alone fetch no checkpoints: an upstream announces a checkpoint by a message.
    """
    job, seconds = claimed.row, ctx.settings.control_timeout_seconds
    upstream_id = job.upstream_job_id or ""
    async with claimed.call(seconds):
        upstream_job = await ctx.upstream.get_job(upstream_id)
    if skip_details_if_ended and upstream_end(upstream_job.status) is not None:
        return Updates(job=upstream_job, events=[], checkpoints=[], requests=1)
    cursor = job.upstream_events_cursor
    events = await _fetch_details(
        claimed, seconds, lambda: ctx.upstream.events_after(upstream_id, cursor), required=complete
    )
    checkpoints: list[UpstreamCheckpoint] = []
    is_message = any(event.type == "message" for event in events)
    fetch_checkpoints = is_message or upstream_end(upstream_job.status) is not None
    if fetch_checkpoints:
        checkpoints = await _fetch_details(
            claimed, seconds, lambda: ctx.upstream.checkpoints(upstream_id), required=complete
        )
    return Updates(job=upstream_job, events=events, checkpoints=checkpoints, requests=2 + fetch_checkpoints)


async def write_updates(
    ctx: AccountContext, session: AsyncSession, claimed: Claim[Job], updates: Updates
) -> dict[str, Any]:
    """Write new events, metrics and checkpoints, each once. Returns the new values of the job's own row."""
    job = claimed.row
    is_unchanged = snapshot_of(updates.job) == job.upstream_snapshot
    if updates.events:
        names = await _names(ctx, session, job, updates)
        known = set(
            await session.scalars(
                select(JobEvent.upstream_event_id).where(
                    JobEvent.job_id == job.id, JobEvent.upstream_event_id.in_([event.id for event in updates.events])
                )
            )
        )
        new = [_event(event, names) for event in updates.events if event.id not in known]
        if new:
            await add_events(session, job.id, job.project_id, new)
            is_unchanged = False
        for event in updates.events:
            if event.type == "metrics":
                await write_metrics(session, job, event.data)
    for checkpoint in updates.checkpoints:
        await _write_checkpoint(ctx, session, job, checkpoint)
    values = {**job_values(job, updates.job, is_unchanged=is_unchanged), "polled_at": func.statement_timestamp()}
    if updates.events:
        values["upstream_events_cursor"] = updates.events[-1].id
        steps = [step for event in updates.events if event.type == "metrics" and (step := _step_of(event.data))]
        values |= running_figures(job, updates.job, updates.events, steps, now=dt.datetime.now(dt.UTC))
    return values


def job_values(job: Job, upstream_job: UpstreamJob, *, is_unchanged: bool) -> dict[str, Any]:
    """The columns of a job's row that record the upstream's job, as a poll or a list shows it.

    `last_update_at` is the statement's time, and so is a poll's `polled_at`: it is later than `polled_at` only if the
    last update came from a list, so that the events that belong to it are still to be fetched.
    """
    values: dict[str, Any] = {
        "upstream_status": upstream_job.status,
        "upstream_snapshot": snapshot_of(upstream_job),
        "upstream_queue_place": upstream_job.queue_place,
        "gpu_seconds": metered(believed_gpu_seconds(job, upstream_job), before=job.gpu_seconds),
        "failures": 0,
    }
    if not is_unchanged:
        values.update(last_update_at=func.statement_timestamp(), stalled_at=None)
    if upstream_job.estimated_finish:
        values["estimated_finish_at"] = dt.datetime.fromtimestamp(upstream_job.estimated_finish, dt.UTC)
    return values


def believed_gpu_seconds(job: Job, upstream_job: UpstreamJob) -> float | None:
    """The GPU-seconds that the upstream reports; None if it reports none, or more than the job can have used."""
    elapsed = dt.datetime.now(dt.UTC) - (job.admitted_at or job.created_at)
    return believed(upstream_job.gpu_seconds, elapsed_seconds=elapsed.total_seconds())


async def write_metrics(session: AsyncSession, job: Job, data: dict[str, Any]) -> None:
    """Write one step's metrics. Values that are not finite numbers are left out, and stored values stay."""
    step = _step_of(data)
    if step is None:
        return
    number, metrics = step
    row = insert(JobMetric).values(job_id=job.id, project_id=job.project_id, step=number, **metrics)
    await session.execute(
        row.on_conflict_do_update(
            index_elements=["job_id", "step"],
            set_={name: func.coalesce(row.excluded[name], getattr(JobMetric, name)) for name in METRICS},
        )
    )


def our_name(ctx: AccountContext, job: Job) -> str:
    """The tuned model's public name."""
    return tuned_name(base=job.model, organization=ctx.settings.organization_id, suffix=job.suffix, job_id=job.id)


async def base_name(ctx: AccountContext, session: AsyncSession, job: Job) -> str:
    """The base model of a job's model, which may itself be a tuned model."""
    base = ctx.catalogue.find(job.model)
    if base is not None:
        return base.name
    tuned = await session.get(Model, job.model)
    return tuned.base_model if tuned is not None else job.model


async def add_model(
    ctx: AccountContext, session: AsyncSession, job: Job, *, name: str, upstream_name: str, kind: ModelKind
) -> None:
    """Add a model under our name, once."""
    await session.execute(
        insert(Model)
        .values(
            name=name,
            project_id=job.project_id,
            job_id=job.id,
            kind=kind,
            base_model=await base_name(ctx, session, job),
            account_id=ctx.upstream.account_id,
            upstream_name=upstream_name,
        )
        .on_conflict_do_nothing(index_elements=["name"])
    )


async def _fetch_details(
    claimed: Claim[Job], seconds: float, fetch: Callable[[], Awaitable[list[Item]]], *, required: bool
) -> list[Item]:
    """Fetch events or checkpoints. An upstream without them (404) has an empty list, and the job is not lost for it."""
    try:
        async with claimed.call(seconds):
            return await fetch()
    except (UpstreamError, TimeoutError) as error:
        if required and not (isinstance(error, UpstreamError) and error.kind == "not_found"):
            raise
        log.info("poll.incomplete", job=claimed.row.id, error=str(error))
        return []


async def _write_checkpoint(
    ctx: AccountContext, session: AsyncSession, job: Job, upstream_checkpoint: UpstreamCheckpoint
) -> None:
    name = f"{our_name(ctx, job)}:ckpt-step-{upstream_checkpoint.step_number}"
    metrics = {
        key: value for key in ("step", *METRICS) if (value := _finite(upstream_checkpoint.metrics.get(key))) is not None
    }
    added = await session.scalar(
        insert(Checkpoint)
        .values(
            id=new_id("ftckpt-"),
            project_id=job.project_id,
            job_id=job.id,
            step_number=upstream_checkpoint.step_number,
            name=name,
            metrics=metrics,
            upstream_checkpoint_id=upstream_checkpoint.id,
            created_at=_moment(upstream_checkpoint.created_at),
        )
        .on_conflict_do_nothing(index_elements=["job_id", "upstream_checkpoint_id"])
        .returning(Checkpoint.id)
    )
    if added is not None:
        await add_model(ctx, session, job, name=name, upstream_name=upstream_checkpoint.model, kind="checkpoint")


async def _names(ctx: AccountContext, session: AsyncSession, job: Job, updates: Updates) -> dict[str, str]:
    names = {job.upstream_job_id or "": job.id}
    if job.upstream_model and job.upstream_model != job.model:
        names[job.upstream_model] = job.model
    sent = await sent_files(session, ctx, job)
    names.update({row.upstream_file_id: ours for ours, row in sent.items() if row.upstream_file_id})
    if updates.job.fine_tuned_model:
        names[updates.job.fine_tuned_model] = our_name(ctx, job)
    for checkpoint in updates.checkpoints:
        names[checkpoint.model] = f"{our_name(ctx, job)}:ckpt-step-{checkpoint.step_number}"
    names.pop("", None)
    return names


def _step_of(data: dict[str, Any]) -> Step | None:
    number = data.get("step")
    if not isinstance(number, int) or isinstance(number, bool) or number < 0:
        return None
    return number, {name: _finite(data.get(name)) for name in METRICS}


def _event(event: UpstreamEvent, names: dict[str, str]) -> NewEvent:
    data = {key: value for key, value in event.data.items() if not isinstance(value, (dict, list))}
    return NewEvent(
        message=translated(event.message, names),
        level=event.level,
        type=event.type,
        data={key: translated(value, names) if isinstance(value, str) else value for key, value in data.items()},
        upstream_event_id=event.id,
        created_at=_moment(event.created_at),
    )


def _finite(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return float(value)


def _moment(unix_seconds: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(unix_seconds, dt.UTC) if unix_seconds > 0 else dt.datetime.now(dt.UTC)
