"""Reads a job's training curve for the rules of `service/jobs/curves/`, however long it is."""

import math
from typing import Any

from sqlalchemy import Select, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from service.database.tables import JobEvent, JobMetric
from service.jobs.curves.curve import MAX_POINTS, MEASURES, Curve, StepLosses
from service.jobs.curves.verdict import MIN_NON_FINITE


async def read_curve(session: AsyncSession, job_id: str, *, total_steps: int | None = None) -> Curve:
    """The curve of a job: of each loss at most `MAX_POINTS`, evenly spaced, always with the last one.

    A step that was reported without a finite figure has a training loss that is NaN if no later step has a figure.
    `total_steps` is that of the last metrics event, unless the caller knows it.
    """
    losses: dict[int, dict[str, float]] = {}
    for measure in MEASURES:
        for step, value in await session.execute(_sampled(job_id, measure)):
            losses.setdefault(step, {})[measure] = value
    steps = [StepLosses(step, **values) for step, values in sorted(losses.items())]
    steps += [StepLosses(step, math.nan) for step in await session.scalars(_last_without_figures(job_id))]
    return Curve(steps, total_steps or await _total_steps(session, job_id))


def total_steps_in(data: dict[str, Any] | None) -> int | None:
    """The number of steps that the data of a metrics event states."""
    stated = (data or {}).get("total_steps")
    return stated if isinstance(stated, int) and not isinstance(stated, bool) and 0 < stated < 2**53 else None


def _sampled(job_id: str, measure: str) -> Select[int, float]:
    column = getattr(JobMetric, measure)
    place = func.row_number().over(order_by=JobMetric.step.desc())
    reported = (
        select(JobMetric.step, column.label("value"), place.label("place"), func.count().over().label("count"))
        .where(JobMetric.job_id == job_id, column.is_not(None))
        .subquery()
    )
    stride = (reported.c.count + MAX_POINTS - 1) // MAX_POINTS
    return select(reported.c.step, reported.c.value).where((reported.c.place - 1) % stride == 0)


def _last_without_figures(job_id: str) -> Select[int]:
    """The first steps after the last one that has a loss; none if no step has one."""
    has_loss = or_(*[getattr(JobMetric, measure).is_not(None) for measure in MEASURES])
    last = select(func.max(JobMetric.step)).where(JobMetric.job_id == job_id, has_loss).scalar_subquery()
    after = select(JobMetric.step).where(JobMetric.job_id == job_id, JobMetric.step > last)
    return after.order_by(JobMetric.step).limit(MIN_NON_FINITE)


async def _total_steps(session: AsyncSession, job_id: str) -> int | None:
    newest = select(JobEvent.data).where(JobEvent.job_id == job_id, JobEvent.type == "metrics")
    return total_steps_in(await session.scalar(newest.order_by(JobEvent.sequence.desc()).limit(1)))
