"""Creating and cancelling runs."""

import datetime as dt
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func
from sqlalchemy.ext.asyncio import AsyncSession

from service.billing.balances import month_balance, month_of
from service.database.leased_work import RUNS, wake
from service.database.tables import Run
from service.errors import InvalidRequest
from service.identity.queries import get_active_project
from service.ids import new_id
from service.runs.queries import get_run
from service.runs.record import OBJECTS, add_event, cancel
from service.states import RunKind

PREFIXES: dict[RunKind, str] = {"generation": "gen_", "comparison": "cmp_"}


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRun:
    """A run to create. Its calls are billed to `api_key_id`; `total` is the number of examples or cases to make."""

    kind: RunKind
    api_key_id: str
    options: dict[str, Any]
    concurrency: int
    budget_micros: int
    total: int
    input_file_id: str | None = None


async def create_run(session: AsyncSession, project_id: str, new: NewRun) -> Run:
    """Create a run, which workers then advance. Raises `InvalidRequest` when the project is archived."""
    await get_active_project(session, project_id)
    row = Run(
        id=new_id(PREFIXES[new.kind]),
        project_id=project_id,
        api_key_id=new.api_key_id,
        kind=new.kind,
        options=new.options,
        concurrency=new.concurrency,
        budget_micros=new.budget_micros,
        total=new.total,
        input_file_id=new.input_file_id,
        due_at=func.now(),
    )
    session.add(row)
    await session.flush()
    await add_event(session, row, f"Created {OBJECTS[new.kind]}: {row.id}")
    await session.refresh(row)
    wake(session, RUNS, row.id, 0)
    return row


async def cancel_run(session: AsyncSession, project_id: str, kind: RunKind, run_id: str) -> Run:
    """Cancel a run; repeating it has no effect. Raises `NotFound`, and `InvalidRequest` for a run that has ended."""
    row = await get_run(session, project_id, kind, run_id, lock=True)
    if row.status in ("succeeded", "failed"):
        raise InvalidRequest(
            f"The {OBJECTS[kind]} has {row.status}; nothing is left to cancel.", param="id", code="run_not_cancellable"
        )
    if row.status != "cancelled":
        await cancel(session, row)
    return row


async def compare_with_budgets(
    session: AsyncSession, project_id: str, *, kind: RunKind, budget_micros: int, expected_micros: int
) -> tuple[int | None, list[str]]:
    """What is left of the project's month in micro-dollars (None: no limit), and why a run could not be completed."""
    remaining = (await month_balance(session, project_id, month_of(dt.datetime.now(dt.UTC)))).remaining
    reasons = []
    if budget_micros < expected_micros:
        reasons.append(f"The expected price is more than `budget`: the {kind} would end before its last example.")
    if remaining is not None and remaining < expected_micros:
        reasons.append("The expected price is more than what is left of the monthly budget.")
    return remaining, reasons
