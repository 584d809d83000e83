"""Writing down what happens to a job: events in order, the timeline, and the webhooks that follow from it.

A transition is one transaction: the job's row (fenced), its place in the timeline, its event, the ledger's entries and
the deliveries. Whoever calls `move` has posted to the ledger before, since balances are locked before jobs.
"""

import datetime as dt
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import func, insert
from sqlalchemy.ext.asyncio import AsyncSession

from service.billing.prices import amount_fields
from service.database import leases
from service.database.event_log import take_places
from service.database.leased_work import JOBS, wake
from service.database.leases import Claim
from service.database.tables import Job, JobEvent, JobState
from service.ids import new_id
from service.jobs.lifecycle import JobError, may_move, status_shown
from service.limits.scheduling_pass import request_scheduling_pass
from service.states import ACTIVE, ENDED, State
from service.webhooks import outbox

WEBHOOKS: dict[State, str] = {
    "succeeded": "fine_tuning.job.succeeded",
    "failed": "fine_tuning.job.failed",
    "cancelled": "fine_tuning.job.cancelled",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEvent:
    """An event to be written. `upstream_event_id` keeps one of the upstream's from being taken twice."""

    message: str
    level: str = "info"
    type: str = "message"
    data: dict[str, Any] | None = None
    upstream_event_id: str | None = None
    created_at: dt.datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """A transition: where to, what changes with it, and when the job is to be looked at next.

    None: never, or when somebody wakes it, as the turn of admissions does with a job that waits.
    """

    to: State
    message: str
    reason: str | None = None
    error: JobError | None = None
    values: dict[str, Any] = field(default_factory=dict)
    due_in_seconds: float | None = 0.0


async def add_events(session: AsyncSession, job_id: str, project_id: str, events: list[NewEvent]) -> int:
    """Append events under the job's row lock, so that their order is that of their commits. Returns the last place."""
    last = await take_places(session, Job, job_id, len(events))
    for sequence, event in enumerate(events, start=last - len(events) + 1):
        await session.execute(
            insert(JobEvent).values(
                id=new_id("ftevent-"),
                project_id=project_id,
                job_id=job_id,
                sequence=sequence,
                level=event.level,
                type=event.type,
                message=event.message,
                data=event.data,
                upstream_event_id=event.upstream_event_id,
                created_at=event.created_at or func.clock_timestamp(),
            )
        )
    return last


async def enter(session: AsyncSession, job: Job, state: State, sequence: int, reason: str | None) -> None:
    """A line of the timeline."""
    session.add(JobState(job_id=job.id, project_id=job.project_id, sequence=sequence, state=state, reason=reason))
    await session.flush()


async def move(session: AsyncSession, claimed: Claim[Job], step: Move) -> None:
    """Make a transition and end the lease. Raises `LeaseLost` when the job is no longer ours.

    Raises `RuntimeError` for a move that the lifecycle does not have: a defect, not an outcome.
    """
    job = claimed.row
    origin: State = job.state  # type: ignore[assignment]  # held by a CHECK
    if not may_move(origin, step.to):
        raise RuntimeError(f"{job.id} cannot move from {origin} to {step.to}.")
    values: dict[str, Any] = {**step.values, "state": step.to, "failures": 0, "waiting_reason": None}
    values.update(last_update_at=func.clock_timestamp(), stalled_at=None)
    if step.to in ENDED:
        values["finished_at"] = func.now()
    if step.error is not None:
        values.update(error_code=step.error.code, error_message=step.error.message, error_param=step.error.param)
    if step.to == "waiting":
        await leases.rest(session, claimed, values, where=[Job.state == origin])
    else:
        await leases.give_back(
            session, claimed, values, due_in_seconds=step.due_in_seconds, where=[Job.state == origin]
        )
    level = "error" if step.to == "failed" else "info"
    sequence = await add_events(session, job.id, job.project_id, [NewEvent(message=step.message, level=level)])
    await enter(session, job, step.to, sequence, step.reason)
    if step.to in WEBHOOKS:
        moved = await session.get_one(Job, job.id, populate_existing=True)
        await tell(session, moved, WEBHOOKS[step.to])
    if step.to == "waiting" or (origin in ACTIVE and step.to not in ACTIVE):
        await request_scheduling_pass(session)
    elif step.due_in_seconds == 0.0:
        wake(session, JOBS, job.id, claimed.token)


async def tell(session: AsyncSession, job: Job, event_type: str) -> None:
    """Emit a webhook event about the job as it is now."""
    await outbox.emit(
        session,
        project_id=job.project_id,
        type=event_type,
        subject=job.id,
        data={
            "status": status_shown(job.state, job.upstream_status),  # type: ignore[arg-type]
            "model": job.model,
            "fine_tuned_model": job.fine_tuned_model,
            "project_id": job.project_id,
            "metadata": job.caller_metadata,
            "trained_tokens": job.trained_tokens,
            "cost": None if job.cost_micros is None else amount_fields(job.cost_micros),
            "error": None if job.error_code is None else _error(job),
            "sequence": job.last_sequence,
        },
        now=dt.datetime.now(dt.UTC),
    )


def _error(job: Job) -> dict[str, str | None]:
    return {"code": job.error_code, "message": job.error_message, "param": job.error_param}
