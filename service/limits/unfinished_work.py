"""Limits a project's unfinished work of each kind; each check runs in the transaction that creates the work.

Unfinished rows are those with a `due_at`, and all experiments that have not ended. They are counted by an index of the
project's unfinished rows, at most up to the limit, so that a check costs as much as the project has waiting and never
more than the limit.
"""

from typing import Any

from sqlalchemy import ColumnElement, func, literal, select
from sqlalchemy.ext.asyncio import AsyncSession

from service.database.advisory_locks import UNFINISHED_WORK
from service.database.tables import DatasetPreparation, Experiment, FileReport, LeakageReport, Run
from service.errors import QuotaExceeded

MAX_UNFINISHED_REPORTS = 10_000
"""A project's file reports that are not ready, and as many leakage reports."""

MAX_UNFINISHED_EXPERIMENTS = 20
"""A project's experiments that have not ended; together they have up to 640 arms."""


async def check_preparations(session: AsyncSession, project_id: str, maximum: int) -> None:
    """Raise `QuotaExceeded` if the project has `maximum` preparations that have not ended."""
    if await _has_as_many(session, DatasetPreparation, project_id, maximum):
        raise _refusal(maximum, "preparations that have not ended", " (TUNEGATE_MAX_UNFINISHED_WORK)")


async def check_runs(session: AsyncSession, project_id: str, maximum: int) -> None:
    """Raise `QuotaExceeded` if the project has `maximum` generations and comparisons that have not ended."""
    if await _has_as_many(session, Run, project_id, maximum):
        raise _refusal(maximum, "generations and comparisons that have not ended", " (TUNEGATE_MAX_UNFINISHED_WORK)")


async def check_experiments(session: AsyncSession, project_id: str) -> None:
    """Raise `QuotaExceeded` if the project has `MAX_UNFINISHED_EXPERIMENTS` experiments that have not ended."""
    unfinished = Experiment.finished_at.is_(None)  # one that waits for its comparison has no `due_at`
    if await _has_as_many(session, Experiment, project_id, MAX_UNFINISHED_EXPERIMENTS, unfinished):
        raise _refusal(MAX_UNFINISHED_EXPERIMENTS, "experiments that have not ended")


async def check_file_reports(session: AsyncSession, project_id: str) -> None:
    """Raise `QuotaExceeded` if the project has `MAX_UNFINISHED_REPORTS` file reports that are not ready."""
    if await _has_as_many(session, FileReport, project_id, MAX_UNFINISHED_REPORTS):
        raise _refusal(MAX_UNFINISHED_REPORTS, "reports of files that are not ready")


async def check_leakage_reports(session: AsyncSession, project_id: str) -> None:
    """Raise `QuotaExceeded` if the project has `MAX_UNFINISHED_REPORTS` leakage reports that are not ready."""
    if await _has_as_many(session, LeakageReport, project_id, MAX_UNFINISHED_REPORTS):
        raise _refusal(MAX_UNFINISHED_REPORTS, "leakage reports that are not ready")


async def _has_as_many(
    session: AsyncSession, table: Any, project_id: str, maximum: int, unfinished: ColumnElement[bool] | None = None
) -> bool:
    """Whether as many rows are unfinished. No other transaction can add one until this one ends.

    Call it before rows are locked: a transaction that has this lock may wait for rows, so one that has locked rows
    must not wait for the lock.
    """
    await session.execute(UNFINISHED_WORK.take(f"{table.__tablename__}:{project_id}"))
    condition = table.due_at.is_not(None) if unfinished is None else unfinished
    found = select(literal(1)).where(table.project_id == project_id, condition).limit(maximum)
    return (await session.scalars(select(func.count()).select_from(found.subquery()))).one() >= maximum


def _refusal(maximum: int, what: str, setting: str = "") -> QuotaExceeded:
    return QuotaExceeded(
        f"The project has {maximum:,} {what}, which is the limit{setting}. Wait for some, or cancel or delete what is "
        "not needed.",
        code="too_much_unfinished_work",
    )
