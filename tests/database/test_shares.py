"""Projects share a process's connections: one project's requests leave room for others and for key checks."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import text

from service.database import engine
from service.database.engine import Database, create_engine, project_connections
from service.errors import Unavailable
from service.wakeups import Wakeups

POOL_SIZE = 5
SHARE = 2
"""Half of the four connections that projects may occupy together."""


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Database]:
    """A process's connections."""
    opened = Database(create_engine(database_url, pool_size=POOL_SIZE), Wakeups(""))
    yield opened
    await opened.close()


class Flood:
    """Transactions of one project, which last as long as the block."""

    def __init__(self, db: Database, count: int) -> None:
        self._db, self._count = db, count
        self._end = asyncio.Event()
        self.open = self.ended = 0

    async def __aenter__(self) -> "Flood":
        self._tasks = [asyncio.create_task(self._occupy()) for _ in range(self._count)]
        while self.open < SHARE:
            await asyncio.sleep(0.01)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._end.set()
        await asyncio.gather(*self._tasks)

    async def _occupy(self) -> None:
        async with self._db.project("proj_flood") as session:
            await session.execute(text("SELECT 1"))
            self.open += 1
            await self._end.wait()
        self.ended += 1


async def test_a_flood_leaves_connections_to_others(db: Database) -> None:
    async with Flood(db, 30) as flood:
        for _ in range(3):
            async with db.project("proj_other") as session, asyncio.timeout(60):
                await session.execute(text("SELECT 1"))
            async with db.admin() as keys, db.worker() as work:
                await keys.execute(text("SELECT 1"))
                await work.execute(text("SELECT 1"))
        assert flood.open == SHARE
    assert flood.ended == 30


async def test_all_projects_together_leave_connections_to_key_checks(db: Database) -> None:
    end = asyncio.Event()
    opened = 0

    async def occupy(project_id: str) -> None:
        nonlocal opened
        async with db.project(project_id) as session:
            await session.execute(text("SELECT 1"))
            opened += 1
            await end.wait()

    tasks = [asyncio.create_task(occupy(f"proj_{number % 10}")) for number in range(40)]
    while opened < project_connections(POOL_SIZE):
        await asyncio.sleep(0.01)
    async with asyncio.timeout(60), db.admin() as session:
        await session.execute(text("SELECT 1"))
    assert opened == project_connections(POOL_SIZE)
    end.set()
    await asyncio.gather(*tasks)


async def test_waiting_has_an_end_that_names_the_limit(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Flood(db, SHARE):
        monkeypatch.setattr(engine, "POOL_WAIT_SECONDS", 0.05)
        with pytest.raises(Unavailable, match="TUNEGATE_DATABASE_POOL_SIZE") as refused:
            async with db.project("proj_flood"):
                pass
        assert (refused.value.status, refused.value.retry_after_seconds) == (503, 1)
    monkeypatch.undo()
    async with db.project("proj_flood") as session:
        await session.execute(text("SELECT 1"))


async def test_a_transaction_inside_another_is_refused(db: Database) -> None:
    async with db.project("proj_a"):
        with pytest.raises(RuntimeError, match="inside another"):
            async with db.project("proj_a"):
                pass
        async with db.admin() as session:
            await session.execute(text("SELECT 1"))
    async with db.project("proj_a") as session:
        await session.execute(text("SELECT 1"))


@pytest.mark.parametrize(("pool_size", "for_projects"), [(1, 1), (2, 2), (5, 4), (20, 16)])
def test_the_part_for_projects(pool_size: int, for_projects: int) -> None:
    assert project_connections(pool_size) == for_projects
