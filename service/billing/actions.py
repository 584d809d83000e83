"""Moving money, each in its caller's transaction. Lock order everywhere: account, balance, job, delivery."""

import datetime as dt

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from service.billing.ledger import Standing, post
from service.ids import new_id
from service.tables import Balance, LedgerEntry, ModelCalibration, Project


def month_of(moment: dt.datetime) -> dt.date:
    """The UTC month that an entry belongs to."""
    return moment.astimezone(dt.UTC).date().replace(day=1)


async def standing(session: AsyncSession, project_id: str, month: dt.date) -> Standing:
    """Where the project stands in a month."""
    limit = await session.scalar(select(Project.spend_limit_micros).where(Project.id == project_id))
    row = await session.get(Balance, (project_id, month), populate_existing=True)
    if row is None:
        return Standing(reserved=0, spent=0, overage=0, limit=limit)
    return Standing(reserved=row.reserved_micros, spent=row.spent_micros, overage=row.overage_micros, limit=limit)


async def reserve(
    session: AsyncSession, *, project_id: str, subject: str, line_item: str, amount_micros: int, month: dt.date
) -> bool:
    """Reserve for a subject, once; False when the project's limit does not leave room for it.

    One conditional UPDATE decides, so no number of callers can reserve more than the limit between them.
    """
    await session.execute(insert(Balance).values(project_id=project_id, month=month).on_conflict_do_nothing())
    await session.execute(
        select(Balance.month).where(Balance.project_id == project_id, Balance.month == month).with_for_update()
    )
    if await _reservation(session, subject) is not None:
        return True
    limit = select(Project.spend_limit_micros).where(Project.id == project_id).scalar_subquery()
    in_use = Balance.reserved_micros + Balance.spent_micros + Balance.overage_micros
    granted = await session.scalar(
        update(Balance)
        .where(
            Balance.project_id == project_id,
            Balance.month == month,
            limit.is_(None) | (in_use + amount_micros <= limit),
        )
        .values(reserved_micros=Balance.reserved_micros + amount_micros)
        .returning(Balance.month)
    )
    if granted is None:
        return False
    session.add(
        LedgerEntry(
            id=new_id("entry-"),
            project_id=project_id,
            month=month,
            subject=subject,
            kind="reserve",
            line_item=line_item,
            reserved_micros=amount_micros,
        )
    )
    await session.flush()
    return True


async def settle(session: AsyncSession, *, subject: str, actual_micros: int, quantity: int | None) -> int:
    """Post what a subject cost and give the rest of its reservation back; a void when it cost nothing.

    Returns what is posted. Settling twice, or what never reserved, changes nothing and returns 0.
    """
    reservation = await _reservation(session, subject)
    if reservation is None:
        return 0
    await session.execute(
        select(Balance.month)
        .where(Balance.project_id == reservation.project_id, Balance.month == reservation.month)
        .with_for_update()
    )
    before = await standing(session, reservation.project_id, reservation.month)
    booked = post(actual=actual_micros, reserved=reservation.reserved_micros, standing=before)
    added = await session.scalar(
        insert(LedgerEntry)
        .values(
            id=new_id("entry-"),
            project_id=reservation.project_id,
            month=reservation.month,
            subject=subject,
            kind="post" if actual_micros else "void",
            line_item=reservation.line_item,
            reserved_micros=booked.released,
            spent_micros=booked.spent,
            overage_micros=booked.overage,
            quantity=quantity,
            created_at=func.clock_timestamp(),
        )
        .on_conflict_do_nothing()
        .returning(LedgerEntry.id)
    )
    if added is None:
        return 0
    await session.execute(
        update(Balance)
        .where(Balance.project_id == reservation.project_id, Balance.month == reservation.month)
        .values(
            reserved_micros=Balance.reserved_micros - booked.released,
            spent_micros=Balance.spent_micros + booked.spent,
            overage_micros=Balance.overage_micros + booked.overage,
        )
    )
    return actual_micros


async def calibrate(session: AsyncSession, *, model: str, estimated_tokens: int, actual_tokens: int) -> None:
    """Add a finished job to its model's calibration, which quotes show."""
    table = ModelCalibration
    await session.execute(
        insert(table)
        .values(model=model, jobs=1, estimated_tokens=estimated_tokens, actual_tokens=actual_tokens)
        .on_conflict_do_update(
            index_elements=["model"],
            set_={
                "jobs": table.jobs + 1,
                "estimated_tokens": table.estimated_tokens + estimated_tokens,
                "actual_tokens": table.actual_tokens + actual_tokens,
            },
        )
    )


async def _reservation(session: AsyncSession, subject: str) -> LedgerEntry | None:
    return (
        await session.scalars(select(LedgerEntry).where(LedgerEntry.subject == subject, LedgerEntry.kind == "reserve"))
    ).one_or_none()
