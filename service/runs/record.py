"""Transitions of runs and their events, with the webhook events that follow.

Lock order: a transaction that posts to the ledger locks the project's balance before it locks a run.
"""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from service.billing.prices import amount_fields
from service.database import leases
from service.database.event_log import EventLog, take_sequence_numbers
from service.database.leased_work import DEPLOYMENTS, wake
from service.database.leases import Claim
from service.database.tables import Deployment, Experiment, Run, RunEvent
from service.ids import new_id
from service.states import UNFINISHED_RUNS, RunEventLevel, RunKind, RunStatus
from service.webhooks import outbox

OBJECTS: Mapping[RunKind, str] = {"generation": "dataset_generation", "comparison": "model_comparison"}
"""The name of each kind on the wire, and the prefix of its webhook event types."""

EVENTS = EventLog(RunEvent, RunEvent.run_id)
"""The events of runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunError:
    """Why a run failed. `message` says what to do; `param` names the option at fault, if there is one."""

    code: str
    message: str
    param: str | None = None

    @classmethod
    def limit_reached(cls, message: str, *, param: str) -> "RunError":
        """The error of a run whose graders or tools (`param`) reached a limit of evaluations."""
        return cls(code="evaluation_limit_exceeded", message=message, param=param)


async def add_event(
    session: AsyncSession,
    run: Run,
    message: str,
    *,
    level: RunEventLevel = "info",
    data: dict[str, Any] | None = None,
) -> None:
    """Append an event; one with `data` is of type `progress`."""
    await session.execute(
        insert(RunEvent).values(
            id=new_id("runevent-"),
            project_id=run.project_id,
            run_id=run.id,
            sequence=await take_sequence_numbers(session, Run, run.id, 1),
            level=level,
            type="message" if data is None else "progress",
            message=message,
            data=data,
            created_at=func.clock_timestamp(),
        )
    )


async def end(
    session: AsyncSession,
    claimed: Claim[Run],
    message: str,
    values: dict[str, Any],
    *,
    error: RunError | None = None,
) -> None:
    """End a claimed run: as succeeded, with its `outcome` in `values`, or as failed with `error`.

    Raises `LeaseLost` when the claim is lost.
    """
    status: RunStatus = "succeeded" if error is None else "failed"
    values = {**values, "status": status, "finished_at": func.now(), "waiting_reason": None}
    if error is not None:
        values.update(error_code=error.code, error_message=error.message, error_param=error.param)
    await leases.give_back(session, claimed, values, due_in_seconds=None, where=[Run.status.in_(UNFINISHED_RUNS)])
    await add_event(session, claimed.row, message, level="info" if error is None else "error")
    await emit_end_event(session, claimed.row.id)
    await _make_waiting_work_due(session, claimed.row)


async def _make_waiting_work_due(session: AsyncSession, run: Run) -> None:
    """Have what waits for the run's end continue now: an experiment, or the deployment that it decides about."""
    if run.kind == "comparison":
        await session.execute(
            update(Experiment)
            .where(Experiment.comparison_run_id == run.id, Experiment.finished_at.is_(None))
            .values(due_at=func.now())
            .execution_options(synchronize_session=False)
        )
    condition = run.options.get("condition")
    if condition is None:
        return
    await session.execute(update(Deployment).where(Deployment.id == condition["job_id"]).values(due_at=func.now()))
    wake(session, DEPLOYMENTS, condition["job_id"], run.id)


async def emit_end_event(session: AsyncSession, run_id: str) -> None:
    """Emit the webhook event for the end of a run, from its present row."""
    run = await session.get_one(Run, run_id, populate_existing=True)
    await outbox.emit(
        session,
        project_id=run.project_id,
        type=f"{OBJECTS[run.kind]}.{run.status}",
        subject=run.id,
        data={
            "status": run.status,
            "project_id": run.project_id,
            "total": run.total,
            "done": run.done,
            "cost": amount_fields(run.cost_micros),
            "input_file": run.input_file_id,
            "file": run.output_file_id,
            "error": None
            if run.error_code is None
            else {"code": run.error_code, "message": run.error_message, "param": run.error_param},
        },
        now=dt.datetime.now(dt.UTC),
    )


async def cancel(session: AsyncSession, run: Run) -> None:
    """Cancel a locked run: a worker that is advancing it loses its lease. Posted costs stay posted."""
    await session.execute(
        update(Run)
        .where(Run.id == run.id)
        .values(
            status="cancelled",
            finished_at=func.now(),
            due_at=None,
            leased_until=None,
            lease_token=Run.lease_token + 1,
            waiting_reason=None,
        )
        .execution_options(synchronize_session=False)
    )
    await add_event(session, run, "Cancelled")
    await emit_end_event(session, run.id)
    await _make_waiting_work_due(session, run)
    await session.refresh(run)


async def cancel_all(session: AsyncSession, project_id: str) -> int:
    """Cancel every unfinished run of a project that is archived or deleted. Returns the number of runs."""
    rows = (
        await session.scalars(
            select(Run).where(Run.project_id == project_id, Run.finished_at.is_(None)).with_for_update()
        )
    ).all()
    for row in rows:
        await cancel(session, row)
    return len(rows)
