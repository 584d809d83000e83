"""Reads, locks and changes a project's balance of a month, and the organisation's. The only module that changes them.

A transaction that changes a balance locks the project's row, then the organisation's, months in ascending order, so two
cannot deadlock. It reads the organisation's limit after it has locked the project's row. Starting or ending the
organisation's balances locks the table `balances` exclusively (`limits.py`), so no change is missed.
"""

import datetime as dt
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Select, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from service.billing.ledger import MonthBalance
from service.database.tables import (
    Balance,
    OrganizationBalance,
    OrganizationSpendAlert,
    OrganizationSpending,
    Project,
    SpendAlert,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedMonth:
    """A project's month. `alert_at` and `organization_alert_at` are the lowest thresholds that have not triggered."""

    project_id: str
    month: dt.date
    balance: MonthBalance
    alert_at: int | None
    organization_alert_at: int | None


def month_of(moment: dt.datetime) -> dt.date:
    """The UTC month that an entry belongs to."""
    return moment.astimezone(dt.UTC).date().replace(day=1)


async def month_balance(session: AsyncSession, project_id: str, month: dt.date) -> MonthBalance:
    """The project's balance of a month, without a lock."""
    return (await _read(session, project_id, month, await _amounts(session, project_id, month))).balance


async def organization_balance(session: AsyncSession, month: dt.date) -> MonthBalance:
    """The organisation's balance of a month, without a lock; all zero while it is not maintained."""
    limit = await session.scalar(select(OrganizationSpending.spend_limit_micros))
    return await _read_organization(session, month, limit, lock=False)


async def lock(session: AsyncSession, project_id: str, month: dt.date) -> LockedMonth:
    """Lock a project's balance of a month until the transaction ends, and read it."""
    amounts = await _amounts(session, project_id, month, lock=True)
    if amounts is None:
        await session.execute(insert(Balance).values(project_id=project_id, month=month).on_conflict_do_nothing())
        amounts = await _amounts(session, project_id, month, lock=True)
    return await _read(session, project_id, month, amounts, lock=True)


async def change_balance(
    session: AsyncSession,
    locked: LockedMonth,
    *,
    reserved: int = 0,
    spent: int = 0,
    overage: int = 0,
    within_limit: bool,
) -> bool:
    """Add amounts to a locked balance. With `within_limit`, returns False and changes nothing if they exceed the limit.

    The UPDATE itself checks the limit, so the check does not depend on an earlier read.
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
    changed = await session.scalar(
        update(Balance)
        .where(Balance.project_id == locked.project_id, Balance.month == locked.month, *conditions)
        .values(amounts)
        .returning(Balance.month)
    )
    if changed is None:
        return False
    if locked.balance.organization is not None:
        await _change_organization_balance(session, locked, reserved, spent, overage, within_limit=within_limit)
    return True


async def _change_organization_balance(
    session: AsyncSession, locked: LockedMonth, reserved: int, spent: int, overage: int, *, within_limit: bool
) -> None:
    table = OrganizationBalance
    conditions: list[ColumnElement[bool]] = []
    if within_limit:
        limit = select(OrganizationSpending.spend_limit_micros).scalar_subquery()
        in_use = table.reserved_micros + table.spent_micros + table.overage_micros
        conditions = [limit.is_(None) | (in_use + reserved + spent + overage <= limit)]
    changed = await session.scalar(
        update(table)
        .where(table.month == locked.month, *conditions)
        .values(
            reserved_micros=table.reserved_micros + reserved,
            spent_micros=table.spent_micros + spent,
            overage_micros=table.overage_micros + overage,
        )
        .returning(table.month)
    )
    if changed is None:
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
) -> LockedMonth:
    found = (
        await session.execute(
            select(
                Project.spend_limit_micros,
                OrganizationSpending.maintained,
                OrganizationSpending.spend_limit_micros,
                lowest_threshold(SpendAlert, month).where(SpendAlert.project_id == project_id).scalar_subquery(),
                lowest_threshold(OrganizationSpendAlert, month).scalar_subquery(),
            )
            .join(OrganizationSpending, OrganizationSpending.id == 1)
            .where(Project.id == project_id)
        )
    ).one()
    limit, maintained, organization_limit, alert_at, organization_alert_at = found
    reserved, spent, overage = amounts or (0, 0, 0)
    organization = await _read_organization(session, month, organization_limit, lock=lock) if maintained else None
    return LockedMonth(
        project_id=project_id,
        month=month,
        balance=MonthBalance(reserved=reserved, spent=spent, overage=overage, limit=limit, organization=organization),
        alert_at=alert_at,
        organization_alert_at=organization_alert_at,
    )


async def _read_organization(session: AsyncSession, month: dt.date, limit: int | None, *, lock: bool) -> MonthBalance:
    table = OrganizationBalance
    query = select(table.reserved_micros, table.spent_micros, table.overage_micros).where(table.month == month)
    if lock:
        query = query.with_for_update()
    row = (await session.execute(query)).one_or_none()
    if row is None and lock:
        await session.execute(insert(table).values(month=month).on_conflict_do_nothing())
        row = (await session.execute(query)).one()
    reserved, spent, overage = row if row is not None else (0, 0, 0)
    return MonthBalance(reserved=reserved, spent=spent, overage=overage, limit=limit)


def lowest_threshold(
    table: type[SpendAlert] | type[OrganizationSpendAlert], month: dt.date | ColumnElement[str]
) -> Select[Any]:
    """The lowest threshold of the alerts that have not triggered in a month."""
    return select(func.min(table.threshold_micros)).where(not_notified(table, month))


def not_notified(
    table: type[SpendAlert] | type[OrganizationSpendAlert], month: dt.date | ColumnElement[str]
) -> ColumnElement[bool]:
    """The condition that an alert has not triggered in a month at its threshold or above; `month` may be its text."""
    key = month.isoformat() if isinstance(month, dt.date) else month
    return func.coalesce(table.notified[key].astext.cast(BigInteger), -1) < table.threshold_micros
