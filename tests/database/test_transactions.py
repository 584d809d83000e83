"""Transactions begin with their scope in one round trip, and none is ever continued in another scope."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from cli.embedded import SERVICE
from service.database.engine import Database, create_engine
from service.database.tables import Project
from service.wakeups import Wakeups
from tests.stack import Servers

SCOPE = text("SELECT current_setting('tunegate.scope', true), current_setting('tunegate.project', true)")


@pytest.fixture
async def db(servers: Servers) -> AsyncIterator[Database]:
    """A database with one connection, so that every transaction uses the one before."""
    with servers.fresh_database() as name:
        database = Database(create_engine(servers.postgres.url(SERVICE, name), pool_size=1), Wakeups(""))
        yield database
        await database.close()


async def test_each_transaction_has_its_own_scope(db: Database) -> None:
    async with db.project("proj_it's") as session:
        assert tuple((await session.execute(SCOPE)).one()) == ("project", "proj_it's")
    async with db.worker() as session:
        assert tuple((await session.execute(SCOPE)).one()) == ("worker", "")
    async with db.admin() as session:
        assert tuple((await session.execute(SCOPE)).one()) == ("admin", "")
    async with db.engine.connect() as connection:
        assert set((await connection.execute(SCOPE)).one()) <= {"", None}


async def test_what_an_action_writes_is_committed_or_rolled_back(db: Database) -> None:
    async with db.admin() as session:
        session.add(Project(id="proj_one", name="one"))
    with pytest.raises(RuntimeError):
        async with db.admin() as session:
            session.add(Project(id="proj_two", name="two"))
            await session.flush()
            raise RuntimeError
    with pytest.raises(IntegrityError):
        async with db.admin() as session:
            session.add(Project(id="proj_one", name="again"))
    async with db.admin() as session:
        assert (await session.scalars(text("SELECT id FROM projects WHERE name IN ('one', 'two', 'again')"))).all() == [
            "proj_one"
        ]


async def test_a_connection_with_an_open_transaction_is_closed(db: Database) -> None:
    connection = await db.engine.connect()
    raw = (await connection.get_raw_connection()).driver_connection
    assert raw is not None
    await raw.execute("BEGIN; SELECT set_config('tunegate.scope', 'admin', true)")
    await connection.close()
    assert raw.is_closed()
    async with db.worker() as session:
        assert tuple((await session.execute(SCOPE)).one()) == ("worker", "")


async def test_a_cancelled_transaction_is_not_continued(db: Database) -> None:
    begun = asyncio.Event()

    async def wait() -> None:
        async with db.admin() as session:
            session.add(Project(id="proj_cancelled", name="cancelled"))
            await session.flush()
            begun.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(wait())
    await begun.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    async with db.worker() as session:
        assert tuple((await session.execute(SCOPE)).one()) == ("worker", "")
        assert await session.scalar(text("SELECT count(*) FROM projects WHERE id = 'proj_cancelled'")) == 0


async def test_a_snapshot_is_read_only_and_does_not_change(db: Database) -> None:
    async with db.snapshot() as session:
        mode = await session.scalar(text("SELECT current_setting('transaction_isolation')"))
        only = await session.scalar(text("SELECT current_setting('transaction_read_only')"))
    assert (mode, only) == ("repeatable read", "on")
