"""Calls of many projects share a commit: how many there are, that none waits for another project, and exact limits."""

import asyncio
import dataclasses
import datetime as dt
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import pytest
from sqlalchemy import ARRAY, Text, any_, bindparam, column, event, func, select, table, update
from sqlalchemy.exc import DBAPIError

from service.billing.actions import Actual, Reservation
from service.billing.audit import ledger_snapshot, prove
from service.billing.balances import lock, month_of
from service.billing.ledger_batcher import MAX_SHARED, LedgerBatcher
from service.billing.usual_calls import Call, lock_months, post_usual, reserve_usual
from service.database.engine import Database, create_engine
from service.database.reads import Query
from service.database.tables import Balance, LedgerEntry, OpenInference, Project, Run, SpendAlert, WebhookEvent
from service.ids import new_id
from service.settings import Settings
from service.wakeups import Wakeups

PROJECTS, CALLS = 8, 4
AMOUNT = 1_000


TABLES = ["balances", "ledger_entries", "open_inferences"]


class _RowsRead(NamedTuple):
    table: str
    rows: int


_COUNTS = table("pg_stat_xact_user_tables", column("relname"), column("seq_tup_read"), column("idx_tup_fetch"))
_ROWS_READ = Query(
    _RowsRead,
    select(_COUNTS.c.relname, _COUNTS.c.seq_tup_read + _COUNTS.c.idx_tup_fetch).where(
        _COUNTS.c.relname == any_(bindparam("tables", type_=ARRAY(Text)))
    ),
)


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
    """What is sent in the block: the beginning, the statements and the end of transactions."""
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
    assert len(statements) == 4, statements
    assert [await amounts(db, each) for each in projects] == [(CALLS * AMOUNT, 0, 0)] * PROJECTS
    with counted(db) as statements:
        await asyncio.gather(*(batcher.settle(project, actual(each)) for project, each in calls))
    assert len(statements) == 4, statements
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


async def test_a_plan_that_was_made_while_the_ledger_was_empty_reads_few_entries(
    settings: Settings, projects: list[str]
) -> None:
    db = Database(create_engine(settings.database_url, pool_size=1), Wakeups(""))
    month = month_of(dt.datetime.now(dt.UTC))
    usual, earlier = call(), [(projects[0], call()) for _ in range(500)]
    lifetime = dt.timedelta(seconds=60)
    async with db.compiled_worker() as transaction:
        await lock_months(transaction, projects, month=month, skip_locked=True)
        await reserve_usual(transaction, [(projects[0], usual)], month=month, lifetime=lifetime)
        await post_usual(transaction, [(projects[0], actual(usual))], month=month)
        await reserve_usual(transaction, earlier, month=month, lifetime=lifetime)
    async with db.compiled_worker() as transaction:
        before = {row.table: row.rows for row in await transaction.all(_ROWS_READ, tables=TABLES)}
        await post_usual(transaction, [(project, actual(each)) for project, each in earlier[:2]], month=month)
        after = await transaction.all(_ROWS_READ, tables=TABLES)
        read = {row.table: row.rows - before[row.table] for row in after}
    await db.close()
    assert all(rows <= 10 for rows in read.values()), read


async def test_shared_commits_run_at_the_same_time_for_different_projects_only(
    batcher: LedgerBatcher, projects: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    running: list[set[str]] = []
    shared: set[str] = set()
    full = asyncio.Event()
    run = batcher._run_shared_batch

    async def observed(batch: list[Any]) -> None:
        projects_of_batch = {each.project_id for each in batch}
        shared.update(*(projects_of_batch & each for each in running))
        running.append(projects_of_batch)
        if len(running) == MAX_SHARED:
            full.set()
        await full.wait()
        await run(batch)
        running.remove(projects_of_batch)

    monkeypatch.setattr(batcher, "_run_shared_batch", observed)
    async with asyncio.timeout(60):
        first = asyncio.create_task(batcher.reserve(projects[0], call()))
        while not running:
            await asyncio.sleep(0)
        assert all(await asyncio.gather(first, *(batcher.reserve(each, call()) for each in projects * CALLS)))
    assert not shared


async def test_a_call_of_a_run_is_recorded_with_its_run(
    db: Database, batcher: LedgerBatcher, projects: list[str]
) -> None:
    project = projects[0]
    async with db.project(project) as session:
        run = Run(
            id=new_id("run-"),
            project_id=project,
            api_key_id="key",
            kind="generation",
            options={},
            concurrency=1,
            budget_micros=10_000,
            total=1,
        )
        session.add(run)
    of_run = dataclasses.replace(call(), run_id=run.id, call_key="1")
    other = call()
    assert all(await asyncio.gather(*(batcher.reserve(project, each) for each in (of_run, other))))
    async with db.project(project) as session:
        rows = await session.execute(select(OpenInference.subject, OpenInference.run_id, OpenInference.call_key))
        opened = {subject: (run_id, key) for subject, run_id, key in rows}
    assert opened == {of_run.reservation.subject: (run.id, "1"), other.reservation.subject: (None, None)}
    await asyncio.gather(*(batcher.settle(project, actual(each)) for each in (of_run, other)))
    async with db.project(project) as session:
        assert await session.scalar(select(Run.cost_micros).where(Run.id == run.id)) == 250
    assert await amounts(db, project) == (0, 500, 0)


async def test_a_posting_that_reaches_an_alert_emits_it_once_and_others_are_posted_too(
    db: Database, batcher: LedgerBatcher, projects: list[str]
) -> None:
    alerted, other, *_ = projects
    async with db.project(alerted) as session:
        alert = SpendAlert(id=new_id("alert_"), project_id=alerted, threshold_micros=300, recipients=[])
        session.add(alert)
    calls = [(project, call()) for project in (alerted, other) * 2]
    await asyncio.gather(*(batcher.reserve(project, each) for project, each in calls))
    await asyncio.gather(*(batcher.settle(project, actual(each)) for project, each in calls))
    assert [await amounts(db, each) for each in (alerted, other)] == [(0, 500, 0)] * 2
    async with db.project(alerted) as session:
        assert await session.scalar(select(func.count()).select_from(WebhookEvent)) == 1


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


async def test_a_paused_process_gives_its_locks_back(
    settings: Settings, db: Database, batcher: LedgerBatcher, projects: list[str]
) -> None:
    """Postgres ends its transaction long before the statements of others that wait for the locks time out."""
    paused = Database(create_engine(settings.database_url, pool_size=1), Wakeups(""))

    granted: list[bool] = []

    async def lock_and_pause() -> None:
        async with paused.compiled_worker() as transaction:
            month = month_of(dt.datetime.now(dt.UTC))
            await lock_months(transaction, projects, month=month, skip_locked=True)
            granted.extend(await asyncio.gather(*(batcher.reserve(each, call()) for each in projects)))

    with pytest.raises((DBAPIError, OSError)):
        await lock_and_pause()
    await paused.close()
    assert granted == [True] * len(projects)
