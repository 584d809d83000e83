"""Calls of many projects share a commit: how many there are, that none waits for another project, and exact limits."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import event, func, select, update

from service.billing.actions import Actual, Reservation
from service.billing.audit import ledger_snapshot, prove
from service.billing.balances import lock, month_of
from service.billing.ledger_batcher import LedgerBatcher
from service.billing.usual_calls import Call
from service.database.engine import Database, create_engine
from service.database.tables import Balance, LedgerEntry, OpenInference, Project
from service.ids import new_id
from service.settings import Settings
from service.wakeups import Wakeups

PROJECTS, CALLS = 8, 4
AMOUNT = 1_000


@pytest.fixture
async def db(settings: Settings) -> AsyncIterator[Database]:
    """The database."""
    opened = Database(create_engine(settings.database_url, pool_size=10), Wakeups(""))
    yield opened
    await opened.close()


@pytest.fixture
async def batcher(db: Database) -> AsyncIterator[LedgerBatcher]:
    """The ledger batcher."""
    opened = LedgerBatcher(db, lifetime_seconds=60)
    yield opened
    await opened.close()


@pytest.fixture
async def projects(db: Database) -> list[str]:
    """Projects that have a balance of this month."""
    ids = [new_id("proj_") for _ in range(PROJECTS)]
    async with db.admin() as session:
        session.add_all(Project(id=each, name=each) for each in ids)
        await session.flush()
        month = month_of((await session.scalars(select(func.now()))).one())
        session.add_all(Balance(project_id=each, month=month) for each in ids)
    return ids


def call() -> Call:
    """A call that reserves `AMOUNT`."""
    reservation = Reservation(
        subject=new_id("call-"), line_item="inference m", amount_micros=AMOUNT, api_key_id="key", model="m"
    )
    return Call(reservation=reservation, input_tokens=7, output_tokens=9)


def actual(of: Call, *, micros: int = 250) -> Actual:
    """The cost of a call."""
    return Actual(
        subject=of.reservation.subject, micros=micros, quantity=5, input_tokens=2, output_tokens=3, basis="usage"
    )


@contextmanager
def counted(db: Database) -> Iterator[list[str]]:
    """The beginnings and statements that are sent in the block; asyncpg logs no COMMIT of a session."""
    statements: list[str] = []

    def note(logged: Any) -> None:
        statements.append(logged.query)

    def listen(connection: Any, record: Any, proxy: Any) -> None:
        connection.driver_connection.add_query_logger(note)

    event.listen(db.engine.sync_engine, "checkout", listen, insert=True)
    try:
        yield statements
    finally:
        event.remove(db.engine.sync_engine, "checkout", listen)


async def amounts(db: Database, project_id: str) -> tuple[int, int, int]:
    """What a project has reserved, spent and above its limit."""
    async with db.project(project_id) as session:
        row = (await session.scalars(select(Balance))).one()
    return row.reserved_micros, row.spent_micros, row.overage_micros


async def test_calls_of_many_projects_are_one_transaction_of_two_statements(
    settings: Settings, db: Database, batcher: LedgerBatcher, projects: list[str]
) -> None:
    first = call()  # the driver reads Postgres' types at a connection's first statements
    await batcher.reserve(projects[0], first)
    await batcher.settle(projects[0], actual(first, micros=0))
    calls = [(project, call()) for project in projects * CALLS]
    with counted(db) as statements:
        assert all(await asyncio.gather(*(batcher.reserve(project, each) for project, each in calls)))
    assert len(statements) == 3, statements
    assert [await amounts(db, each) for each in projects] == [(CALLS * AMOUNT, 0, 0)] * PROJECTS
    with counted(db) as statements:
        await asyncio.gather(*(batcher.settle(project, actual(each)) for project, each in calls))
    assert len(statements) == 3, statements
    assert [await amounts(db, each) for each in projects] == [(0, CALLS * 250, 0)] * PROJECTS
    async with db.project(projects[0]) as session:
        entries = (await session.scalars(select(LedgerEntry).order_by(LedgerEntry.id))).all()
        assert await session.scalar(select(func.count()).select_from(OpenInference)) == 0
    post = entries[-1]
    assert [each.kind for each in entries] == ["reserve", "post"] + ["reserve"] * CALLS + ["post"] * CALLS
    assert (post.reserved_micros, post.spent_micros, post.quantity, post.basis) == (AMOUNT, 250, 5, "usage")
    assert (post.line_item, post.model, post.api_key_id) == ("inference m", "m", "key")
    async with ledger_snapshot(settings.database_url) as snapshot:
        assert (await prove(snapshot)).consistent


async def test_a_project_whose_balance_is_locked_delays_no_other(
    db: Database, batcher: LedgerBatcher, projects: list[str]
) -> None:
    locked, other, *_ = projects
    async with db.worker() as session:
        month = month_of((await session.scalars(select(func.now()))).one())
        await lock(session, locked, month)
        waiting = asyncio.create_task(batcher.reserve(locked, call()))
        async with asyncio.timeout(60):
            assert await batcher.reserve(other, call())
        assert not waiting.done()
    assert await waiting


async def test_a_batch_above_the_limit_is_granted_call_by_call(
    db: Database, batcher: LedgerBatcher, projects: list[str]
) -> None:
    limited, other, *_ = projects
    async with db.admin() as session:
        await session.execute(update(Project).where(Project.id == limited).values(spend_limit_micros=3 * AMOUNT - 1))
    granted = await asyncio.gather(*(batcher.reserve(each, call()) for each in (limited, other) * CALLS))
    assert (granted[::2], granted[1::2]) == ([True, True, False, False], [True] * CALLS)
    assert await amounts(db, limited) == (2 * AMOUNT, 0, 0)


async def test_what_costs_more_than_reserved_or_nothing_is_posted_as_ever(
    db: Database, batcher: LedgerBatcher, projects: list[str]
) -> None:
    project = projects[0]
    dear, free, twice = call(), call(), call()
    await asyncio.gather(*(batcher.reserve(project, each) for each in (dear, free, twice)))
    async with db.admin() as session:
        await session.execute(update(Project).where(Project.id == project).values(spend_limit_micros=3 * AMOUNT))
    nothing = Actual(subject=free.reservation.subject, micros=0, quantity=None)
    await batcher.settle(project, actual(dear, micros=AMOUNT + 500))
    assert await amounts(db, project) == (2 * AMOUNT, AMOUNT, 500)
    await asyncio.gather(batcher.settle(project, nothing), batcher.settle(project, actual(twice)))
    await batcher.settle(project, actual(twice))
    assert await amounts(db, project) == (0, AMOUNT + 250, 500)
    async with db.project(project) as session:
        kinds = list(await session.scalars(select(LedgerEntry.kind).where(LedgerEntry.kind != "reserve")))
    assert sorted(kinds) == ["post", "post", "void"]


async def test_a_post_is_only_of_the_project_that_reserved(
    db: Database, batcher: LedgerBatcher, projects: list[str]
) -> None:
    owner, other, *_ = projects
    mine = call()
    await asyncio.gather(batcher.reserve(owner, mine), batcher.reserve(other, call()))
    await batcher.settle(other, actual(mine))
    assert [await amounts(db, each) for each in (owner, other)] == [(AMOUNT, 0, 0)] * 2
