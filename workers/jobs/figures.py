"""The figures that summarise a job's training in its row: losses, start, duration, tokens a second."""

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Select, literal, select, union_all
from sqlalchemy.ext.asyncio import AsyncSession

from service.billing.prices import TOKENS_PER_PRICE
from service.database.tables import Job, JobMetric
from service.jobs.losses import Loss, Losses, columns_of, losses_of, with_steps
from service.upstreams.port import UpstreamEvent, UpstreamJob

MIN_SECONDS = 1.0
"""Upstreams report times in whole seconds: over less than one, a speed means nothing."""

Step = tuple[int, Mapping[str, float | None]]
"""A training step and its metrics, null where none was reported."""


def running_figures(
    job: Job, upstream_job: UpstreamJob, events: Sequence[UpstreamEvent], steps: Iterable[Step], *, now: dt.datetime
) -> dict[str, Any]:
    """The columns that a poll changes by the events and steps that it found."""
    values = columns_of(with_steps(losses_of(job), steps))
    began, tokens = training_start(job, events, now=now), _tokens_so_far(job, upstream_job, events)
    if began is not None and tokens:
        values["tokens_per_second"] = tokens_per_second(tokens, (now - began).total_seconds())
    return values


async def final_figures(
    session: AsyncSession,
    job: Job,
    upstream_job: UpstreamJob,
    events: Sequence[UpstreamEvent],
    *,
    tokens: int | None,
    now: dt.datetime,
) -> dict[str, Any]:
    """The columns of a job that ends now, by all its stored steps. A training ends when the upstream says so."""
    values = columns_of(await _stored_losses(session, job.id))
    began = training_start(job, events, now=now)
    if began is None:
        return {**values, "duration_seconds": None, "tokens_per_second": None}
    ended = now
    if upstream_job.finished_at is not None:
        ended = min(now, dt.datetime.fromtimestamp(upstream_job.finished_at, dt.UTC))
    seconds = max(0.0, (ended - began).total_seconds())
    speed = None if tokens is None else tokens_per_second(tokens, seconds)
    return {**values, "started_at": began, "duration_seconds": seconds, "tokens_per_second": speed}


def training_start(job: Job, events: Iterable[UpstreamEvent], *, now: dt.datetime) -> dt.datetime | None:
    """When the training started: when a poll first saw it run, or its first step was reported, if that was earlier.

    A short training may have ended before the first poll. It started between the job's admission and now, whatever the
    upstream's clock says. None while neither is known.
    """
    reported = [event.created_at for event in events if event.type == "metrics" and event.created_at > 0]
    known = [] if job.started_at is None else [job.started_at]
    if reported:
        known.append(dt.datetime.fromtimestamp(min(reported), dt.UTC))
    return max(min(*known, now), job.admitted_at or job.created_at) if known else None


def tokens_per_second(tokens: int, seconds: float) -> float | None:
    """The speed of a training; None for one that was too short to tell."""
    return tokens / seconds if seconds >= MIN_SECONDS else None


def _tokens_so_far(job: Job, upstream_job: UpstreamJob, events: Iterable[UpstreamEvent]) -> int | None:
    """The tokens that a running job has trained: as reported, or by its progress through those that were estimated."""
    if upstream_job.tokens_so_far is not None:
        return upstream_job.tokens_so_far
    if not job.expected_micros or not job.price_micros_per_million:
        return None
    progress = max((_progress(event.data) for event in events if event.type == "metrics"), default=0.0)
    return int(progress * job.expected_micros * TOKENS_PER_PRICE / job.price_micros_per_million)


def _progress(data: Mapping[str, Any]) -> float:
    step, total = data.get("step"), data.get("total_steps")
    if not isinstance(step, int) or not isinstance(total, int) or not 0 < step <= total:
        return 0.0
    return step / total


async def _stored_losses(session: AsyncSession, job_id: str) -> Losses:
    rows = await session.execute(union_all(*(end for name in _LOSSES for end in _ends(name, job_id))))
    found = {(name, end): (value, step) for name, end, step, value in rows}
    losses = {name: Loss(*found[name, "final"], *found[name, "best"]) for name in _LOSSES if (name, "final") in found}
    full = losses.get("full_valid_loss")
    return Losses(losses.get("train_loss"), full or losses.get("valid_loss"), full is not None)


_LOSSES = ("train_loss", "valid_loss", "full_valid_loss")


def _ends(name: str, job_id: str) -> list[Select[Any]]:
    """The queries for the last step with a loss, and the first one with the lowest."""
    loss = getattr(JobMetric, name)
    steps = {"final": (JobMetric.step.desc(),), "best": (loss, JobMetric.step)}
    return [
        select(
            select(literal(name).label("name"), literal(end).label("end"), JobMetric.step, loss.label("loss"))
            .where(JobMetric.job_id == job_id, loss.is_not(None))
            .order_by(*order)
            .limit(1)
            .subquery()
        )
        for end, order in steps.items()
    ]
