"""Ends of experiments, with the webhook events that follow.

Lock order: what locks a balance, a job or a run locks it before the experiment.
"""

import datetime as dt
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from service.billing.prices import amount_fields
from service.database import leases
from service.database.leased_work import EXPERIMENTS, wake
from service.database.leases import Claim
from service.database.tables import Experiment
from service.experiments.queries import FullExperiment, read_full
from service.runs.record import RunError
from service.states import ExperimentStatus
from service.webhooks import outbox

UNFINISHED: tuple[ExperimentStatus, ...] = ("pending", "running", "comparing")


async def end(
    session: AsyncSession,
    claimed: Claim[Experiment],
    status: ExperimentStatus,
    values: dict[str, Any],
    *,
    error: RunError | None = None,
) -> None:
    """End a claimed experiment, a failed one with its error, and emit its webhook event.

    Raises `LeaseLost` when the claim is lost.
    """
    values = {**values, "status": status, "finished_at": func.now(), "waiting_reason": None}
    if error is not None:
        values.update(error_code=error.code, error_message=error.message, error_param=error.param)
    await leases.give_back(session, claimed, values, due_in_seconds=None, where=[Experiment.status.in_(UNFINISHED)])
    await _emit_end(session, claimed.row.id)


async def cancel_all(session: AsyncSession, project_id: str) -> int:
    """End every unfinished experiment of a project that is archived or deleted; its jobs are the caller's to cancel.

    A worker that is creating an arm loses its lease. Returns the number of experiments.
    """
    ids = (
        await session.scalars(
            update(Experiment)
            .where(Experiment.project_id == project_id, Experiment.finished_at.is_(None))
            .values(
                status="cancelled",
                cancel_requested_at=func.coalesce(Experiment.cancel_requested_at, func.now()),
                finished_at=func.now(),
                due_at=None,
                leased_until=None,
                lease_token=Experiment.lease_token + 1,
                waiting_reason=None,
            )
            .returning(Experiment.id)
            .execution_options(synchronize_session=False)
        )
    ).all()
    for experiment_id in ids:
        await _emit_end(session, experiment_id)
    return len(ids)


def wake_up(session: AsyncSession, row: Experiment, version: object) -> None:
    """Wake a worker for the experiment once the transaction has committed."""
    wake(session, EXPERIMENTS, row.id, version)


async def _emit_end(session: AsyncSession, experiment_id: str) -> None:
    row = (
        await session.scalars(
            select(Experiment).where(Experiment.id == experiment_id).execution_options(populate_existing=True)
        )
    ).one()
    [full] = await read_full(session, [row])
    await outbox.emit(
        session,
        project_id=row.project_id,
        type=f"fine_tuning.experiment.{row.status}",
        subject=row.id,
        data=_event_data(full),
        now=dt.datetime.now(dt.UTC),
    )


def _event_data(full: FullExperiment) -> dict[str, Any]:
    row = full.row
    recommended = (row.outcome or {}).get("recommended") or {}
    comparison_micros = full.comparison.cost_micros if full.comparison is not None else 0
    error = None
    if row.error_code is not None:
        error = {"code": row.error_code, "message": row.error_message, "param": row.error_param}
    return {
        "status": row.status,
        "project_id": row.project_id,
        "arms": len(full.arms),
        "succeeded_arms": sum(arm.job is not None and arm.job.state == "succeeded" for arm in full.arms),
        "recommended_arm": recommended.get("arm"),
        "fine_tuned_model": recommended.get("model"),
        "promoted": row.request.get("promote") if row.promotion_status == "promoted" else None,
        "cost": amount_fields(full.spent.cost_micros + comparison_micros),
        "metadata": row.request.get("metadata"),
        "error": error,
    }
