"""Writes what happens to a job: its transitions, events and timeline, and the webhooks that follow from them.

A transition is one transaction: the job's row (fenced by its lease), its entry in the timeline, its event, the ledger's
entries and the webhook deliveries. Post to the ledger before `apply_transition`: balances are locked before jobs.
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Double, cast, extract, func, insert, literal, update
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession

from service.billing.prices import amount_fields
from service.database import leases
from service.database.event_log import take_sequence_numbers
from service.database.leased_work import EXPERIMENTS, JOBS, wake
from service.database.leases import Claim
from service.database.tables import Experiment, Job, JobEvent, JobState
from service.ids import new_id
from service.jobs.lifecycle import is_permitted, status_shown
from service.jobs.summary import JobWarning
from service.jobs.transitions import Transition
from service.jobs.warnings import stored
from service.limits.scheduling_pass import request_scheduling_pass
from service.states import ACTIVE, ENDED, EventLevel, EventType, State
from service.webhooks import outbox

WEBHOOKS: dict[State, str] = {
    "succeeded": "fine_tuning.job.succeeded",
    "failed": "fine_tuning.job.failed",
    "cancelled": "fine_tuning.job.cancelled",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEvent:
    """An event to be written. `upstream_event_id` makes an event of the upstream unique within the job."""

    message: str
    level: EventLevel = "info"
    type: EventType = "message"
    data: dict[str, Any] | None = None
    upstream_event_id: str | None = None
    created_at: dt.datetime | None = None


async def add_events(session: AsyncSession, job_id: str, project_id: str, events: list[NewEvent]) -> int:
    """Append events under the job's row lock, so that their order is that of their commits.

    Returns the sequence number of the last one.
    """
    last = await take_sequence_numbers(session, Job, job_id, len(events))
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


def with_warnings(warnings: Sequence[JobWarning]) -> ColumnElement[Any]:
    """The value of a job's `warnings` with some more, by which concurrent transactions lose none of each other's."""
    return func.coalesce(Job.warnings, literal([], JSONB)).concat(literal(stored(warnings), JSONB))


async def add_timeline_entry(session: AsyncSession, job: Job, state: State, sequence: int, reason: str | None) -> None:
    """Add an entry to the timeline; `sequence` is that of the transition's event."""
    session.add(JobState(job_id=job.id, project_id=job.project_id, sequence=sequence, state=state, reason=reason))
    await session.flush()


async def apply_transition(session: AsyncSession, claimed: Claim[Job], transition: Transition) -> None:
    """Write a transition and end the lease. The job is due again at once, unless it waits for a slot or has ended.

    Raises `LeaseLost` when another worker has claimed the job, and `RuntimeError` for a transition that the lifecycle
    does not have, which is a defect.
    """
    job, origin, target = claimed.row, claimed.row.state, transition.target
    if not is_permitted(origin, target):
        raise RuntimeError(f"{job.id} cannot go from {origin} to {target}.")
    values: dict[str, Any] = {**transition.values, "state": target, "failures": 0, "waiting_reason": None}
    values.update(last_update_at=func.clock_timestamp(), stalled_at=None)
    if target in ENDED:
        values["finished_at"] = func.now()
        values.setdefault("duration_seconds", cast(extract("epoch", func.now() - Job.started_at), Double))
    if (error := transition.error) is not None:
        values.update(error_code=error.code, error_message=error.message, error_param=error.param)
    same_state = [Job.state == origin]
    due_at_once = target != "waiting" and target not in ENDED
    if target == "waiting":
        await leases.give_back_idle(session, claimed, values, where=same_state)
    else:
        due_in_seconds = 0.0 if due_at_once else None
        await leases.give_back(session, claimed, values, due_in_seconds=due_in_seconds, where=same_state)
    event = NewEvent(message=transition.message, level="error" if target == "failed" else "info")
    sequence = await add_events(session, job.id, job.project_id, [event])
    await add_timeline_entry(session, job, target, sequence, transition.reason)
    if target in WEBHOOKS:
        written = await session.get_one(Job, job.id, populate_existing=True)
        await emit_webhook(session, written, WEBHOOKS[target])
    if target in ENDED and job.experiment_id is not None:
        await _make_experiment_due(session, job.experiment_id, job.id)
    if target == "waiting" or (origin in ACTIVE and target not in ACTIVE):
        await request_scheduling_pass(session)
    elif due_at_once:
        wake(session, JOBS, job.id, claimed.token)


async def _make_experiment_due(session: AsyncSession, experiment_id: str, job_id: str) -> None:
    await session.execute(
        update(Experiment)
        .where(Experiment.id == experiment_id, Experiment.finished_at.is_(None))
        .values(due_at=func.now())
    )
    wake(session, EXPERIMENTS, experiment_id, job_id)


async def emit_webhook(session: AsyncSession, job: Job, event_type: str) -> None:
    """Emit a webhook event with the job's current values."""
    await outbox.emit(
        session,
        project_id=job.project_id,
        type=event_type,
        subject=job.id,
        data={
            "status": status_shown(job.state, job.upstream_status),
            "model": job.model,
            "fine_tuned_model": job.fine_tuned_model,
            "project_id": job.project_id,
            "metadata": job.caller_metadata,
            "trained_tokens": job.trained_tokens,
            "cost": None if job.cost_micros is None else amount_fields(job.cost_micros),
            "error": None if job.error_code is None else _error_of(job),
            "sequence": job.last_sequence,
        },
        now=dt.datetime.now(dt.UTC),
    )


def _error_of(job: Job) -> dict[str, str | None]:
    return {"code": job.error_code, "message": job.error_message, "param": job.error_param}
