"""A value that Postgres refuses fails one operation of a shared transaction, and not the others."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from service.database.engine import Database, create_engine
from service.database.group_commit import GroupCommit
from service.wakeups import Wakeups


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Database]:
    """A process's connections."""
    opened = Database(create_engine(database_url, pool_size=2), Wakeups(""))
    yield opened
    await opened.close()


@pytest.mark.parametrize("refused", ["a\0b", "\ud800", "x" * 20])
async def test_others_are_committed_without_a_value_that_postgres_refuses(db: Database, refused: str) -> None:
    async def commit(values: Sequence[str]) -> list[str]:
        async with db.worker() as session:
            for each in values:
                await session.execute(text("SELECT CAST(CAST(:each AS text) AS integer)"), {"each": each})
        return list(values)

    group = GroupCommit(commit)
    results = await asyncio.gather(*map(group.submit, ["1", refused, "2"]), return_exceptions=True)
    assert [results[0], results[2]] == ["1", "2"], results
    assert isinstance(results[1], DBAPIError)
