"""Moving money, each in its caller's transaction. Lock order everywhere: account, balance, job, delivery."""

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from sqlalchemy import ARRAY, ColumnElement, Text, any_, cast, insert, select
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncSession

from service.billing import alerts
from service.billing.balances import lock, month_of, move, standing
from service.billing.ledger import grant, post
from service.database.tables import LedgerEntry, ModelCalibration
from service.ids import new_id
from service.states import PostingBasis

__all__ = [
    "Actual",
    "Reservation",
    "calibrate",
    "month_of",
    "reserve",
    "reserve_all",
    "settle",
    "settle_all",
    "standing",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """What a subject may cost, who spends it, and on what."""

    subject: str
    line_item: str
    amount_micros: int
    api_key_id: str | None = None
    model: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Actual:
    """What a subject came to. `quantity` is what was billed, in tokens; tokens and basis are those of inference."""

    subject: str
    micros: int
    quantity: int | None
    input_tokens: int | None = None
    output_tokens: int | None = None
    basis: PostingBasis | None = None


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
    """Reserve for a subject, once; False when the project's limit, or the organisation's, does not leave room for it.

    One conditional UPDATE decides, so no number of callers can reserve more than the limit between them.
    """
    await lock(session, project_id, month)
    if await _reservations(session, [subject]):
        return True
    wanted = Reservation(
        subject=subject, line_item=line_item, amount_micros=amount_micros, api_key_id=api_key_id, model=model
    )
    [granted] = await reserve_all(session, project_id, month, [wanted])
    return granted


async def reserve_all(
    session: AsyncSession, project_id: str, month: dt.date, wanted: Sequence[Reservation]
) -> list[bool]:
    """Reserve for several subjects that have never reserved: which of them the limits leave room for."""
    if not wanted:
        return []
    locked = await lock(session, project_id, month)
    granted = grant([each.amount_micros for each in wanted], locked.standing.remaining)
    taken = [each for each, fits in zip(wanted, granted, strict=True) if fits]
    if not taken:
        return granted
    if not await move(session, locked, reserved=sum(each.amount_micros for each in taken), within_limit=True):
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
            for each in taken
        ],
    )
    return granted


async def settle(session: AsyncSession, *, subject: str, actual_micros: int, quantity: int | None) -> int:
    """Post what a subject cost and give the rest of its reservation back; a void when it cost nothing.

    Returns what is posted. Settling twice, or what never reserved, changes nothing and returns 0.
    """
    settled = await settle_all(session, [Actual(subject=subject, micros=actual_micros, quantity=quantity)])
    return actual_micros if subject in settled else 0


async def settle_all(session: AsyncSession, actuals: Sequence[Actual]) -> set[str]:
    """Resolve several subjects. Returns those that were not resolved before; what never reserved is not among them."""
    if not actuals:
        return set()
    known = {each.subject: each for each in actuals}
    reservations = await _reservations(session, known)
    settled: set[str] = set()
    for (month, project_id), group in groupby(
        sorted(reservations, key=lambda entry: (entry.month, entry.project_id)),
        key=lambda entry: (entry.month, entry.project_id),
    ):
        settled |= await _settle_month(session, project_id, month, list(group), known)
    return settled


async def calibrate(session: AsyncSession, *, model: str, estimated_tokens: int, actual_tokens: int) -> None:
    """Add a finished job to its model's calibration, which quotes show."""
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
        await session.scalars(select(LedgerEntry.subject).where(_one_of(subjects), LedgerEntry.kind != "reserve"))
    )
    after, entries = locked.standing, []
    for reservation in reservations:
        actual = actuals[reservation.subject]
        if reservation.subject in resolved:
            continue
        booked = post(actual=actual.micros, reserved=reservation.reserved_micros, standing=after)
        after = after.moved(booked)
        entries.append(
            {
                "id": new_id("entry-"),
                "project_id": project_id,
                "month": month,
                "subject": reservation.subject,
                "kind": "post" if actual.micros or actual.quantity else "void",
                "line_item": reservation.line_item,
                "reserved_micros": booked.released,
                "spent_micros": booked.spent,
                "overage_micros": booked.overage,
                "quantity": actual.quantity,
                "api_key_id": reservation.api_key_id,
                "model": reservation.model,
                "input_tokens": actual.input_tokens,
                "output_tokens": actual.output_tokens,
                "basis": actual.basis,
            }
        )
    if not entries:
        return set()
    before = locked.standing
    await session.execute(insert(LedgerEntry), entries)
    await move(
        session,
        locked,
        reserved=after.reserved - before.reserved,
        spent=after.spent - before.spent,
        overage=after.overage - before.overage,
        within_limit=False,
    )
    await alerts.tell(session, locked, after)
    return {entry.subject for entry in reservations} - resolved


async def _reservations(session: AsyncSession, subjects: Iterable[str]) -> Sequence[LedgerEntry]:
    return (await session.scalars(select(LedgerEntry).where(_one_of(subjects), LedgerEntry.kind == "reserve"))).all()


def _one_of(subjects: Iterable[str]) -> ColumnElement[bool]:
    return LedgerEntry.subject == any_(cast(list(subjects), ARRAY(Text)))
