"""What the upstream tells about a job, written into our rows under our names: events, metrics and checkpoints."""

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
from service.jobs.lifecycle import upstream_end
from service.jobs.record import NewEvent, add_events
from service.jobs.rules import tuned_name
from service.upstreams.poll_schedule import snapshot_of
from service.upstreams.port import UpstreamCheckpoint, UpstreamError, UpstreamEvent, UpstreamJob
from workers.context import AccountContext
from workers.jobs.translate import translated
from workers.jobs.upload import sent_files

log = structlog.get_logger()

Told = TypeVar("Told")

FIGURES = (
    "train_loss",
    "train_mean_token_accuracy",
    "valid_loss",
    "valid_mean_token_accuracy",
    "full_valid_loss",
    "full_valid_mean_token_accuracy",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Updates:
    """One look at a running job."""

    job: UpstreamJob
    events: list[UpstreamEvent]
    checkpoints: list[UpstreamCheckpoint]
    requests: int = 0


async def fetch_updates(
    ctx: AccountContext, claimed: Claim[Job], *, complete: bool, ends_alone: bool = False
) -> Updates:
    """Ask the upstream what is new. Raises `UpstreamError` and `TimeoutError` when it does not tell of the job.

    `complete`: also when it does not tell of the job's events and checkpoints; otherwise those can wait.
    `ends_alone`: of a job that has ended nothing more is asked, since settling asks for all of it.
    """
    job, seconds = claimed.row, ctx.settings.control_timeout_seconds
    upstream_id = job.upstream_job_id or ""
    async with claimed.call(seconds):
        told = await ctx.upstream.get_job(upstream_id)
    if ends_alone and upstream_end(told.status) is not None:
        return Updates(job=told, events=[], checkpoints=[], requests=1)
    cursor = job.upstream_events_cursor
    events = await _beside(claimed, seconds, lambda: ctx.upstream.events_after(upstream_id, cursor), needed=complete)
    checkpoints: list[UpstreamCheckpoint] = []
    further = bool(events) or upstream_end(told.status) is not None
    if further:
        checkpoints = await _beside(claimed, seconds, lambda: ctx.upstream.checkpoints(upstream_id), needed=complete)
    return Updates(job=told, events=events, checkpoints=checkpoints, requests=2 + further)


async def write_updates(
    ctx: AccountContext, session: AsyncSession, claimed: Claim[Job], news: Updates
) -> dict[str, Any]:
    """Write what is new, each thing once. Returns the values that the job's own row takes on."""
    job = claimed.row
    known_already = snapshot_of(news.job) == job.upstream_snapshot
    if news.events:
        names = await _names(ctx, session, job, news)
        known = set(
            await session.scalars(
                select(JobEvent.upstream_event_id).where(
                    JobEvent.job_id == job.id, JobEvent.upstream_event_id.in_([event.id for event in news.events])
                )
            )
        )
        fresh = [_event(event, names) for event in news.events if event.id not in known]
        if fresh:
            await add_events(session, job.id, job.project_id, fresh)
            known_already = False
        for event in news.events:
            if event.type == "metrics":
                await write_metrics(session, job, event.data)
    for checkpoint in news.checkpoints:
        await _write_checkpoint(ctx, session, job, checkpoint)
    values: dict[str, Any] = {
        "upstream_status": news.job.status,
        "upstream_snapshot": snapshot_of(news.job),
        "polled_at": func.clock_timestamp(),
        "failures": 0,
    }
    if not known_already:
        values.update(last_update_at=func.clock_timestamp(), stalled_at=None)
    if news.events:
        values["upstream_events_cursor"] = news.events[-1].id
    if news.job.estimated_finish:
        values["estimated_finish_at"] = dt.datetime.fromtimestamp(news.job.estimated_finish, dt.UTC)
    return values


async def write_metrics(session: AsyncSession, job: Job, data: dict[str, Any]) -> None:
    """One step's figures; what is not a finite number is left out, what is known already stays."""
    step = data.get("step")
    if not isinstance(step, int) or isinstance(step, bool) or step < 0:
        return
    figures = {name: _finite(data.get(name)) for name in FIGURES}
    row = insert(JobMetric).values(job_id=job.id, project_id=job.project_id, step=step, **figures)
    await session.execute(
        row.on_conflict_do_update(
            index_elements=["job_id", "step"],
            set_={name: func.coalesce(row.excluded[name], getattr(JobMetric, name)) for name in FIGURES},
        )
    )


def our_name(ctx: AccountContext, job: Job) -> str:
    """The tuned model's name as callers know it."""
    return tuned_name(base=job.model, organization=ctx.settings.organization_id, suffix=job.suffix, job_id=job.id)


async def base_name(ctx: AccountContext, session: AsyncSession, job: Job) -> str:
    """The base model behind a job's model, which may be a tuned one."""
    base = ctx.catalogue.find(job.model)
    if base is not None:
        return base.name
    tuned = await session.get(Model, job.model)
    return tuned.base_model if tuned is not None else job.model


async def add_model(
    ctx: AccountContext, session: AsyncSession, job: Job, *, name: str, upstream_name: str, kind: str
) -> None:
    """Give an upstream's model our name, once."""
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


async def _beside(
    claimed: Claim[Job], seconds: float, ask: Callable[[], Awaitable[list[Told]]], *, needed: bool
) -> list[Told]:
    """What goes with a job without being the job. An upstream may not have it at all (404); that loses no job."""
    try:
        async with claimed.call(seconds):
            return await ask()
    except (UpstreamError, TimeoutError) as error:
        if needed and not (isinstance(error, UpstreamError) and error.kind == "not_found"):
            raise
        log.info("news.incomplete", job=claimed.row.id, error=str(error))
        return []


async def _write_checkpoint(ctx: AccountContext, session: AsyncSession, job: Job, told: UpstreamCheckpoint) -> None:
    name = f"{our_name(ctx, job)}:ckpt-step-{told.step_number}"
    metrics = {key: value for key in ("step", *FIGURES) if (value := _finite(told.metrics.get(key))) is not None}
    added = await session.scalar(
        insert(Checkpoint)
        .values(
            id=new_id("ftckpt-"),
            project_id=job.project_id,
            job_id=job.id,
            step_number=told.step_number,
            name=name,
            metrics=metrics,
            upstream_checkpoint_id=told.id,
            created_at=_moment(told.created_at),
        )
        .on_conflict_do_nothing(index_elements=["job_id", "upstream_checkpoint_id"])
        .returning(Checkpoint.id)
    )
    if added is not None:
        await add_model(ctx, session, job, name=name, upstream_name=told.model, kind="checkpoint")


async def _names(ctx: AccountContext, session: AsyncSession, job: Job, news: Updates) -> dict[str, str]:
    names = {job.upstream_job_id or "": job.id}
    if job.upstream_model and job.upstream_model != job.model:
        names[job.upstream_model] = job.model
    sent = await sent_files(session, ctx, job)
    names.update({row.upstream_file_id: ours for ours, row in sent.items() if row.upstream_file_id})
    if news.job.fine_tuned_model:
        names[news.job.fine_tuned_model] = our_name(ctx, job)
    for checkpoint in news.checkpoints:
        names[checkpoint.model] = f"{our_name(ctx, job)}:ckpt-step-{checkpoint.step_number}"
    names.pop("", None)
    return names


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
