"""Writes the verdict on a job's training curve: at a bounded rate while it runs, and once from all of it at its end."""

import math
from collections.abc import Collection, Sequence
from typing import Any, get_args

import msgspec
import structlog
from sqlalchemy import Integer, select
from sqlalchemy.ext.asyncio import AsyncSession

from service.database.tables import Checkpoint, FileReport, Job
from service.jobs.curves.advice import Settings
from service.jobs.curves.robust import MIN_POINTS
from service.jobs.curves.verdict import Training, Verdict, VerdictKind, verdict
from service.jobs.record import NewEvent, add_events
from service.jobs.rules import hyperparameters_of
from service.jobs.training_curve import read_curve, total_steps_in
from service.upstreams.port import UpstreamEvent

log = structlog.get_logger()

GROWTH = 1.1
"""A running job's verdict is computed again when its steps have grown by a tenth: a hundred times up to step 100,000.
Together that costs as much as eleven verdicts on the whole curve."""

MAX_CHECKPOINTS = 1_000

ALARMING: tuple[VerdictKind, ...] = ("over_fitted", "diverged")
"""Verdicts of which an event informs while the job still runs and can be cancelled."""


def is_due(steps: Sequence[int]) -> bool:
    """Whether new steps reach one of the steps 8, 9, 10, 11, … 100, 110, 121, …, each a tenth after the one before."""
    last, first = max(steps, default=0), min(steps, default=0)
    if last < MIN_POINTS:
        return False
    power = math.floor(math.log(last / MIN_POINTS, GROWTH) + 1e-9)
    return math.ceil(MIN_POINTS * GROWTH**power) >= first


async def write_running(session: AsyncSession, job: Job, events: Sequence[UpstreamEvent]) -> dict[str, Any]:
    """The columns that a poll's new metrics change, and an event if the job over-fits or diverges since then."""
    reported = [event.data for event in events if event.type == "metrics"]
    steps = [step for data in reported if isinstance(step := data.get("step"), int) and 0 <= step < 2**53]
    if job.method["type"] == "reinforcement" or not is_due(steps):
        return {}
    total_steps = max((total for data in reported if (total := total_steps_in(data)) is not None), default=None)
    before = (job.verdict or {}).get("kind")
    alarms = [kind for kind in ALARMING if kind != before]
    return await _write(session, job, has_ended=False, total_steps=total_steps, with_event=alarms)


async def write_final(session: AsyncSession, job: Job) -> dict[str, Any]:
    """The columns of the last verdict, from all metrics, and its event."""
    if job.method["type"] == "reinforcement":
        return {}
    return await _write(session, job, has_ended=True, total_steps=None, with_event=get_args(VerdictKind))


async def _write(
    session: AsyncSession,
    job: Job,
    *,
    has_ended: bool,
    total_steps: int | None,
    with_event: Collection[VerdictKind],
) -> dict[str, Any]:
    """A verdict is an opinion: a fault in it is logged, and never keeps a job from being polled or settled."""
    try:
        async with session.begin_nested():
            found = await _verdict(session, job, has_ended=has_ended, total_steps=total_steps)
            if found is not None and found.kind in with_event:
                await add_events(session, job.id, job.project_id, [_event(found)])
    except Exception as error:
        log.error("verdict.failed", job=job.id, error=repr(error))
        return {}
    return {"verdict": msgspec.to_builtins(found)}


async def _verdict(session: AsyncSession, job: Job, *, has_ended: bool, total_steps: int | None) -> Verdict | None:
    curve = await read_curve(session, job.id, total_steps=total_steps)
    if not curve.steps:
        return None
    found = await session.execute(
        select(Checkpoint.step_number, Checkpoint.name)
        .where(Checkpoint.job_id == job.id)
        .order_by(Checkpoint.step_number.desc())
        .limit(MAX_CHECKPOINTS)
    )
    training = Training(
        method=job.method["type"],
        has_ended=has_ended,
        settings=await _settings(session, job),
        checkpoints={row.step_number: row.name for row in found},
    )
    return verdict(curve, training)


async def _settings(session: AsyncSession, job: Job) -> Settings:
    chosen = hyperparameters_of(job.method)
    rate, size = chosen["learning_rate_multiplier"], chosen["batch_size"]
    examples = FileReport.report["examples"].astext.cast(Integer)
    ready = select(examples).where(FileReport.file_id == job.training_file_id, FileReport.status == "ready")
    return Settings(
        n_epochs=job.n_epochs,
        learning_rate_multiplier=rate if isinstance(rate, int | float) else None,
        batch_size=size if isinstance(size, int) else None,
        examples=await session.scalar(ready.limit(1)),
    )


def _event(found: Verdict) -> NewEvent:
    return NewEvent(
        message=found.message,
        level="warn" if found.kind in ALARMING else "info",
        data={"verdict": found.kind, "step": found.step, "recommended_checkpoint": found.recommended_checkpoint},
    )
