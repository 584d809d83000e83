"""Writing down what happens to a run: its events in order, its end, and the webhooks that follow from it.

Balances are locked before runs: whoever posts to the ledger does so first.
"""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from service.billing.prices import amount_fields
from service.database import leases
from service.database.event_log import EventLog, take_places
from service.database.leases import Claim
from service.database.tables import Run, RunEvent
from service.ids import new_id
from service.webhooks import outbox

Kind = Literal["generation", "comparison"]
End = Literal["succeeded", "failed", "cancelled"]
OBJECTS: Mapping[str, str] = {"generation": "dataset_generation", "comparison": "model_comparison"}
"""What each kind is called on the wire, and at the start of its webhooks' types."""

EVENTS = EventLog(RunEvent, RunEvent.run_id)
"""What runs tell."""

LIVE = ("pending", "running")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunError:
    """Why a run failed: `message` says what to do, `param` names the option at fault if one is."""

    code: str
    message: str
    param: str | None = None


async def add_event(
    session: AsyncSession,
    run: Run,
    message: str,
    *,
    level: Literal["info", "warn", "error"] = "info",
    data: dict[str, Any] | None = None,
) -> None:
    """Append an event; with `data` it tells of progress."""
    await session.execute(
        insert(RunEvent).values(
            id=new_id("runevent-"),
            project_id=run.project_id,
            run_id=run.id,
            sequence=await take_places(session, Run, run.id, 1),
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
    """End a claimed run: succeeded with its `outcome` among the values, or failed by `error`.

    Raises `LeaseLost` when it is no longer ours.
    """
    status: End = "succeeded" if error is None else "failed"
    values = {**values, "status": status, "finished_at": func.now(), "waiting_reason": None}
    if error is not None:
        values.update(error_code=error.code, error_message=error.message, error_param=error.param)
    await leases.give_back(session, claimed, values, due_in_seconds=None, where=[Run.status.in_(LIVE)])
    await add_event(session, claimed.row, message, level="info" if error is None else "error")
    await tell(session, claimed.row.id)


async def tell(session: AsyncSession, run_id: str) -> None:
    """Emit the webhook event of a run's end, as it is now."""
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
    """End a run now: a worker that is at it loses its lease. `run` is locked; what was posted stays posted."""
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
    await tell(session, run.id)
    await session.refresh(run)


async def cancel_all(session: AsyncSession, project_id: str) -> int:
    """End every run of a project that is archived or deleted. Returns how many."""
    rows = (
        await session.scalars(
            select(Run).where(Run.project_id == project_id, Run.finished_at.is_(None)).with_for_update()
        )
    ).all()
    for row in rows:
        await cancel(session, row)
    return len(rows)
