"""A project's month under its lock, with the organisation's where it is kept. The one place that moves balances.

Whoever moves a balance holds the project's row, then the organisation's, months in their order: so no two wait for each
other. The organisation's limit is read after the project's row is locked. Who begins or ends the keeping of its
balances takes the table `balances` for himself (`limits.py`), so no movement falls between.
"""

import datetime as dt
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Select, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from service.billing.ledger import Standing
from service.database.tables import (
    Balance,
    OrganizationBalance,
    OrganizationSpendAlert,
    OrganizationSpending,
    Project,
    SpendAlert,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Month:
    """A project's month. `alert_at` and `organization_alert_at` are the lowest thresholds that nobody was told of."""

    project_id: str
    month: dt.date
    standing: Standing
    alert_at: int | None
    organization_alert_at: int | None


def month_of(moment: dt.datetime) -> dt.date:
    """The UTC month that an entry belongs to."""
    return moment.astimezone(dt.UTC).date().replace(day=1)


async def standing(session: AsyncSession, project_id: str, month: dt.date) -> Standing:
    """Where the project stands in a month, without a lock."""
    return (await _read(session, project_id, month, await _amounts(session, project_id, month))).standing


async def organization_standing(session: AsyncSession, month: dt.date) -> Standing:
    """Where the organisation stands in a month, without a lock; all zero while its balances are not kept."""
    limit = await session.scalar(select(OrganizationSpending.spend_limit_micros))
    return await _organization(session, month, limit, lock=False)


async def lock(session: AsyncSession, project_id: str, month: dt.date) -> Month:
    """Lock a project's month until the end of the transaction, and read it."""
    amounts = await _amounts(session, project_id, month, lock=True)
    if amounts is None:
        await session.execute(insert(Balance).values(project_id=project_id, month=month).on_conflict_do_nothing())
        amounts = await _amounts(session, project_id, month, lock=True)
    return await _read(session, project_id, month, amounts, lock=True)


async def move(
    session: AsyncSession, locked: Month, *, reserved: int = 0, spent: int = 0, overage: int = 0, within_limit: bool
) -> bool:
    """Add to a locked month. False, and nothing is changed, when `within_limit` and the limit leaves no room.

    The limit stands in the UPDATE itself, so that it holds whatever was read before.
    """
    amounts = {
        "reserved_micros": Balance.reserved_micros + reserved,
        "spent_micros": Balance.spent_micros + spent,
        "overage_micros": Balance.overage_micros + overage,
    }
    conditions: list[ColumnElement[bool]] = []
    if within_limit:
        limit = select(Project.spend_limit_micros).where(Project.id == locked.project_id).scalar_subquery()
        in_use = Balance.reserved_micros + Balance.spent_micros + Balance.overage_micros
        conditions = [limit.is_(None) | (in_use + reserved + spent + overage <= limit)]
    moved = await session.scalar(
        update(Balance)
        .where(Balance.project_id == locked.project_id, Balance.month == locked.month, *conditions)
        .values(amounts)
        .returning(Balance.month)
    )
    if moved is None:
        return False
    if locked.standing.organization is not None:
        await _move_organization(session, locked, reserved, spent, overage, within_limit=within_limit)
    return True


async def _move_organization(
    session: AsyncSession, locked: Month, reserved: int, spent: int, overage: int, *, within_limit: bool
) -> None:
    table = OrganizationBalance
    conditions: list[ColumnElement[bool]] = []
    if within_limit:
        limit = select(OrganizationSpending.spend_limit_micros).scalar_subquery()
        in_use = table.reserved_micros + table.spent_micros + table.overage_micros
        conditions = [limit.is_(None) | (in_use + reserved + spent + overage <= limit)]
    moved = await session.scalar(
        update(table)
        .where(table.month == locked.month, *conditions)
        .values(
            reserved_micros=table.reserved_micros + reserved,
            spent_micros=table.spent_micros + spent,
            overage_micros=table.overage_micros + overage,
        )
        .returning(table.month)
    )
    if moved is None:
        raise RuntimeError("The organisation's limit changed under its lock.")


async def _amounts(
    session: AsyncSession, project_id: str, month: dt.date, *, lock: bool = False
) -> tuple[int, int, int] | None:
    query = select(Balance.reserved_micros, Balance.spent_micros, Balance.overage_micros).where(
        Balance.project_id == project_id, Balance.month == month
    )
    row = (await session.execute(query.with_for_update() if lock else query)).one_or_none()
    return None if row is None else (row[0], row[1], row[2])


async def _read(
    session: AsyncSession,
    project_id: str,
    month: dt.date,
    amounts: tuple[int, int, int] | None,
    *,
    lock: bool = False,
) -> Month:
    found = (
        await session.execute(
            select(
                Project.spend_limit_micros,
                OrganizationSpending.kept,
                OrganizationSpending.spend_limit_micros,
                _next(SpendAlert, month).where(SpendAlert.project_id == project_id).scalar_subquery(),
                _next(OrganizationSpendAlert, month).scalar_subquery(),
            )
            .join(OrganizationSpending, OrganizationSpending.id == 1)
            .where(Project.id == project_id)
        )
    ).one()
    limit, kept, organization_limit, alert_at, organization_alert_at = found
    reserved, spent, overage = amounts or (0, 0, 0)
    organization = await _organization(session, month, organization_limit, lock=lock) if kept else None
    return Month(
        project_id=project_id,
        month=month,
        standing=Standing(reserved=reserved, spent=spent, overage=overage, limit=limit, organization=organization),
        alert_at=alert_at,
        organization_alert_at=organization_alert_at,
    )


async def _organization(session: AsyncSession, month: dt.date, limit: int | None, *, lock: bool) -> Standing:
    table = OrganizationBalance
    query = select(table.reserved_micros, table.spent_micros, table.overage_micros).where(table.month == month)
    if lock:
        query = query.with_for_update()
    row = (await session.execute(query)).one_or_none()
    if row is None and lock:
        await session.execute(insert(table).values(month=month).on_conflict_do_nothing())
        row = (await session.execute(query)).one()
    reserved, spent, overage = row if row is not None else (0, 0, 0)
    return Standing(reserved=reserved, spent=spent, overage=overage, limit=limit)


def _next(table: type[SpendAlert] | type[OrganizationSpendAlert], month: dt.date) -> Select[Any]:
    return select(func.min(table.threshold_micros)).where(untold(table, month))


def untold(table: type[SpendAlert] | type[OrganizationSpendAlert], month: dt.date) -> ColumnElement[bool]:
    """The condition that an alert has not been told in a month at its threshold or above."""
    return func.coalesce(table.told[month.isoformat()].astext.cast(BigInteger), -1) < table.threshold_micros
