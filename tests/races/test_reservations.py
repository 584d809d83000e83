"""Money under contention: reserved and spent never exceed the limit, and every balance is the sum of its entries."""

import asyncio
import datetime as dt
from collections.abc import Awaitable, Callable

import pytest
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from service.billing import actions as billing
from service.database.tables import Balance, LedgerEntry, Project
from service.errors import QuotaExceeded
from service.ids import new_id
from tests.workers.harness import WorkerHarness

CALLERS, ROOM, AMOUNT = 60, 17, 1_000
MONTH = dt.date(2026, 11, 1)

Reserve = Callable[[AsyncSession, str, str], Awaitable[bool]]


async def conditional(session: AsyncSession, project_id: str, subject: str) -> bool:
    """The reservation as it is."""
    return await billing.reserve(
        session, project_id=project_id, subject=subject, line_item="training", amount_micros=AMOUNT, month=MONTH
    )


def naive(meeting: asyncio.Barrier) -> Reserve:
    """The reservation as one would write it at first: look, decide, write. All who meet look before any writes."""

    async def reserve(session: AsyncSession, project_id: str, subject: str) -> bool:
        before = await billing.month_balance(session, project_id, MONTH)
        await meeting.wait()
        if before.remaining is None or before.remaining < AMOUNT:
            return False
        session.add(
            LedgerEntry(
                id=new_id("entry-"),
                project_id=project_id,
                month=MONTH,
                subject=subject,
                kind="reserve",
                line_item="training",
                reserved_micros=AMOUNT,
            )
        )
        await session.execute(
            update(Balance)
            .where(Balance.project_id == project_id, Balance.month == MONTH)
            .values(reserved_micros=Balance.reserved_micros + AMOUNT)
        )
        return True

    return reserve


async def granted(harness: WorkerHarness, reserve: Reserve, subjects: list[str]) -> int:
    """How many of as many callers at once get their reservation, in transactions of their own."""
    async with harness.ctx.db.admin() as session:
        await session.execute(
            update(Project)
            .where(Project.id == harness.project_id)
            .values(spend_limit_micros=ROOM * AMOUNT + AMOUNT - 1)
        )
        session.add(Balance(project_id=harness.project_id, month=MONTH))

    async def call(subject: str) -> bool:
        async with harness.ctx.db.project(harness.project_id) as session:
            return await reserve(session, harness.project_id, subject)

    return sum(await asyncio.gather(*(call(subject) for subject in subjects)))


def subjects(count: int) -> list[str]:
    """Names of things that money is reserved for."""
    return [new_id("ftjob-") for _ in range(count)]


async def test_exactly_as_many_are_granted_as_there_is_room_for(harness: WorkerHarness) -> None:
    assert await granted(harness, conditional, subjects(CALLERS)) == ROOM
    assert (await harness.balance()).reserved_micros == ROOM * AMOUNT


async def test_control_a_naive_reservation_grants_more(harness: WorkerHarness) -> None:
    at_once = harness.concurrent_transactions
    assert CALLERS % at_once == 0
    assert await granted(harness, naive(asyncio.Barrier(at_once)), subjects(CALLERS)) > ROOM


async def test_one_subject_reserves_once_however_many_ask(harness: WorkerHarness) -> None:
    [subject] = subjects(1)
    assert await granted(harness, conditional, [subject] * 20) == 20, "asking again is answered yes"
    assert await harness.entries(subject) == ["reserve"]
    assert (await harness.balance()).reserved_micros == AMOUNT


@pytest.mark.parametrize("actual", [0, AMOUNT // 2, AMOUNT * 30], ids=["void", "less", "more"])
async def test_one_subject_is_resolved_once_however_many_settle(harness: WorkerHarness, actual: int) -> None:
    [subject, other] = subjects(2)
    await granted(harness, conditional, [subject, other])

    async def settle() -> int:
        async with harness.ctx.db.worker() as session:
            return await billing.settle(session, subject=subject, actual_micros=actual, quantity=None)

    posted = await asyncio.gather(*(settle() for _ in range(20)))
    assert sorted(posted) == [0] * 19 + [actual]
    assert await harness.entries(subject) == ["reserve", "post" if actual else "void"]
    balance = await harness.balance()
    assert (balance.reserved_micros, balance.spent_micros + balance.overage_micros) == (AMOUNT, actual)
    assert balance.reserved_micros + balance.spent_micros <= ROOM * AMOUNT + AMOUNT - 1


async def test_reservations_and_settlements_together_keep_the_limit_at_every_moment(harness: WorkerHarness) -> None:
    first = subjects(ROOM)
    await granted(harness, conditional, first)
    over = asyncio.Event()
    seen: list[int] = []

    async def observe() -> None:
        while not over.is_set():
            async with harness.ctx.db.worker() as session:
                row = (
                    await session.execute(
                        select(Balance.reserved_micros + Balance.spent_micros).where(Balance.month == MONTH)
                    )
                ).scalar_one()
            seen.append(row)

    async def settle(subject: str) -> None:
        async with harness.ctx.db.worker() as session:
            await billing.settle(session, subject=subject, actual_micros=AMOUNT // 2, quantity=None)

    async def reserve(subject: str) -> bool:
        async with harness.ctx.db.project(harness.project_id) as session:
            return await conditional(session, harness.project_id, subject)

    observing = asyncio.create_task(observe())
    won = await asyncio.gather(*(settle(subject) for subject in first), *(reserve(each) for each in subjects(CALLERS)))
    over.set()
    await observing
    assert max(seen) <= ROOM * AMOUNT + AMOUNT - 1
    balance = await harness.balance()
    assert balance.reserved_micros == sum(bool(each) for each in won) * AMOUNT
    assert balance.spent_micros == ROOM * (AMOUNT // 2)


async def test_jobs_over_the_budget_are_refused_and_leave_nothing(harness: WorkerHarness) -> None:
    """The same through the action itself: parallel creates against a budget for three."""
    same = await harness.new_file()
    await harness.new_job(training=same)
    upper = (await harness.balance()).reserved_micros
    async with harness.ctx.db.admin() as session:
        await session.execute(
            update(Project).where(Project.id == harness.project_id).values(spend_limit_micros=upper * 3)
        )
    made = await asyncio.gather(*(harness.new_job(training=same) for _ in range(12)), return_exceptions=True)
    assert [type(each) for each in made if not isinstance(each, str)] == [QuotaExceeded] * 10
    assert (await harness.balance()).reserved_micros == upper * 3
