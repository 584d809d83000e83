"""Reserves and settles money in its caller's transaction. Lock order everywhere: account, balance, job, delivery."""

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from sqlalchemy import ARRAY, ColumnElement, Text, any_, case, cast, func, insert, select
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncSession

from service.billing import alerts
from service.billing.balances import change_balance, lock, month_balance, month_of
from service.billing.ledger import grant, post
from service.database.tables import LedgerEntry, ModelCalibration, TrainingSpeed
from service.ids import new_id
from service.states import PostingBasis

__all__ = [
    "Actual",
    "Commitment",
    "Reservation",
    "add_speed",
    "calibrate",
    "committed",
    "month_balance",
    "month_of",
    "reserve",
    "reserve_all",
    "reserved_micros",
    "settle",
    "settle_all",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """The most that a subject may cost, the key that spends it, and the line item and model."""

    subject: str
    line_item: str
    amount_micros: int
    api_key_id: str | None = None
    model: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Commitment:
    """What several subjects have cost and what they have reserved and not resolved, in micro-dollars."""

    cost_micros: int
    reserved_micros: int

    @property
    def total_micros(self) -> int:
        """Both together: what they may have cost in the end, unless one exceeds its reservation."""
        return self.cost_micros + self.reserved_micros


@dataclass(frozen=True, slots=True, kw_only=True)
class Actual:
    """The actual cost of a subject. `quantity` is the billed tokens; tokens and basis are given for inference only.

    `gpu_seconds` are those of a job, which its upstream metered.
    """

    subject: str
    micros: int
    quantity: int | None
    input_tokens: int | None = None
    output_tokens: int | None = None
    basis: PostingBasis | None = None
    gpu_seconds: float | None = None


async def reserve(
    session: AsyncSession,
    *,
    project_id: str,
    subject: str,
    line_item: str,
    amount_micros: int,
    month: dt.date,
    api_key_id: str | None = None,
    model: str | None = None,
) -> bool:
    """Reserve for a subject, once; False when the project's or the organisation's limit leaves no room for it.

    One conditional UPDATE decides, so concurrent callers cannot together reserve more than the limit.
    """
    await lock(session, project_id, month)
    if await _reservations(session, [subject]):
        return True
    reservation = Reservation(
        subject=subject, line_item=line_item, amount_micros=amount_micros, api_key_id=api_key_id, model=model
    )
    [granted] = await reserve_all(session, project_id, month, [reservation])
    return granted


async def reserve_all(
    session: AsyncSession, project_id: str, month: dt.date, reservations: Sequence[Reservation]
) -> list[bool]:
    """Reserve for several subjects that have no reservation; returns which of them the limits leave room for."""
    if not reservations:
        return []
    locked = await lock(session, project_id, month)
    granted = grant([each.amount_micros for each in reservations], locked.balance.remaining)
    fitting = [each for each, fits in zip(reservations, granted, strict=True) if fits]
    if not fitting:
        return granted
    if not await change_balance(
        session, locked, reserved=sum(each.amount_micros for each in fitting), within_limit=True
    ):
        return [False] * len(granted)
    await session.execute(
        insert(LedgerEntry),
        [
            {
                "id": new_id("entry-"),
                "project_id": project_id,
                "month": month,
                "subject": each.subject,
                "kind": "reserve",
                "line_item": each.line_item,
                "reserved_micros": each.amount_micros,
                "api_key_id": each.api_key_id,
                "model": each.model,
            }
            for each in fitting
        ],
    )
    return granted


async def settle(
    session: AsyncSession, *, subject: str, actual_micros: int, quantity: int | None, gpu_seconds: float | None = None
) -> int:
    """Post what a subject cost and release the rest of its reservation; a void if it cost nothing.

    Returns the posted amount. Settling twice, or a subject without a reservation, changes nothing and returns 0.
    """
    actual = Actual(subject=subject, micros=actual_micros, quantity=quantity, gpu_seconds=gpu_seconds)
    settled = await settle_all(session, [actual])
    return actual_micros if subject in settled else 0


async def settle_all(session: AsyncSession, actuals: Sequence[Actual]) -> set[str]:
    """Resolve several subjects. Returns those that this call resolved, none without a reservation."""
    if not actuals:
        return set()
    by_subject = {each.subject: each for each in actuals}
    reservations = await _reservations(session, by_subject)
    settled: set[str] = set()
    for (month, project_id), group in groupby(
        sorted(reservations, key=lambda entry: (entry.month, entry.project_id)),
        key=lambda entry: (entry.month, entry.project_id),
    ):
        settled |= await _settle_month(session, project_id, month, list(group), by_subject)
    return settled


async def reserved_micros(session: AsyncSession, subject: str) -> int | None:
    """The amount that a subject has reserved, also after it was resolved; None if it never did."""
    return next((entry.reserved_micros for entry in await _reservations(session, [subject])), None)


async def committed(session: AsyncSession, subjects: Iterable[str]) -> Commitment:
    """The sum of what these subjects have cost and reserved, by the entries of the ledger."""
    entry = LedgerEntry
    sign = case((entry.kind == "reserve", 1), else_=-1)
    row = (
        await session.execute(
            select(
                func.coalesce(func.sum(entry.spent_micros + entry.overage_micros), 0),
                func.coalesce(func.sum(sign * entry.reserved_micros), 0),
            ).where(_subject_in(subjects))
        )
    ).one()
    return Commitment(cost_micros=int(row[0]), reserved_micros=int(row[1]))


async def calibrate(session: AsyncSession, *, model: str, estimated_tokens: int, actual_tokens: int) -> None:
    """Add a finished job's token counts to its model's calibration, which quotes show."""
    table = ModelCalibration
    await session.execute(
        upsert(table)
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


async def add_speed(session: AsyncSession, **values: Any) -> None:
    """Add the speed of a job that succeeded, once, by which later jobs of its kind are estimated.

    `values` are the columns of `TrainingSpeed`.
    """
    await session.execute(upsert(TrainingSpeed).values(**values).on_conflict_do_nothing(index_elements=["job_id"]))


async def _settle_month(
    session: AsyncSession,
    project_id: str,
    month: dt.date,
    reservations: list[LedgerEntry],
    actuals: dict[str, Actual],
) -> set[str]:
    locked = await lock(session, project_id, month)
    subjects = [entry.subject for entry in reservations]
    resolved = set(
        await session.scalars(select(LedgerEntry.subject).where(_subject_in(subjects), LedgerEntry.kind != "reserve"))
    )
    after, entries = locked.balance, []
    for reservation in reservations:
        actual = actuals[reservation.subject]
        if reservation.subject in resolved:
            continue
        posting = post(actual=actual.micros, reserved=reservation.reserved_micros, balance=after)
        after = after.after_posting(posting)
        entries.append(
            {
                "id": new_id("entry-"),
                "project_id": project_id,
                "month": month,
                "subject": reservation.subject,
                "kind": "post" if actual.micros or actual.quantity or actual.gpu_seconds else "void",
                "line_item": reservation.line_item,
                "reserved_micros": posting.released,
                "spent_micros": posting.spent,
                "overage_micros": posting.overage,
                "quantity": actual.quantity,
                "api_key_id": reservation.api_key_id,
                "model": reservation.model,
                "input_tokens": actual.input_tokens,
                "output_tokens": actual.output_tokens,
                "basis": actual.basis,
                "gpu_seconds": actual.gpu_seconds,
            }
        )
    if not entries:
        return set()
    before = locked.balance
    await session.execute(insert(LedgerEntry), entries)
    await change_balance(
        session,
        locked,
        reserved=after.reserved - before.reserved,
        spent=after.spent - before.spent,
        overage=after.overage - before.overage,
        within_limit=False,
    )
    await alerts.notify(session, locked, after)
    return {entry.subject for entry in reservations} - resolved


async def _reservations(session: AsyncSession, subjects: Iterable[str]) -> Sequence[LedgerEntry]:
    return (
        await session.scalars(select(LedgerEntry).where(_subject_in(subjects), LedgerEntry.kind == "reserve"))
    ).all()


def _subject_in(subjects: Iterable[str]) -> ColumnElement[bool]:
    return LedgerEntry.subject == any_(cast(list(subjects), ARRAY(Text)))
