"""The default account's row, which every process writes when it starts."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import select, text, update

from cli.embedded import execute
from service.database.engine import Database, create_engine
from service.database.tables import UpstreamAccount
from service.settings import Settings
from service.upstreams.accounts import ensure_default_account
from service.wakeups import Wakeups

STARTS = 4
A_SLOW_KEY = (
    "CREATE FUNCTION slowly(id text) RETURNS text LANGUAGE plpgsql IMMUTABLE"
    " AS $$ BEGIN PERFORM pg_sleep(0.3); RETURN id; END $$",
    "ALTER TABLE upstream_accounts DROP CONSTRAINT pk_upstream_accounts CASCADE",
    "CREATE INDEX slow ON upstream_accounts (slowly(id))",
    "ALTER TABLE upstream_accounts ADD CONSTRAINT pk_upstream_accounts PRIMARY KEY (id)",
)
"""Between the check for a conflict at the key and the write of the key, 0.3 s pass: indexes are written in the order
in which they were made. What hits one start in thousands then hits every one."""


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Settings that have a default account."""
    return dataclasses.replace(settings, upstream_base_url="http://127.0.0.1:1/v1", upstream_api_key="none")


@pytest.fixture
async def db(settings: Settings) -> AsyncIterator[Database]:
    """The fresh database, with a connection for each start."""
    db = Database(create_engine(settings.database_url, pool_size=STARTS), Wakeups(""))
    yield db
    await db.close()


async def begin(db: Database, settings: Settings, together: asyncio.Barrier | None = None) -> None:
    """What a process does when it starts; several of them at one moment."""
    async with db.admin() as session:
        await session.execute(text("SELECT 1"))
        if together is not None:
            await together.wait()
        await ensure_default_account(session, settings)


async def the_account(db: Database) -> UpstreamAccount:
    """The only account that there is."""
    async with db.admin() as session:
        return (await session.scalars(select(UpstreamAccount))).one()


async def test_processes_that_start_at_once_do_not_trip_over_each_other(
    db: Database, settings: Settings, owner_url: str
) -> None:
    for statement in A_SLOW_KEY:
        await execute(owner_url, statement)
    together = asyncio.Barrier(STARTS)
    await asyncio.gather(*(begin(db, settings, together) for _ in range(STARTS)))
    assert (await the_account(db)).base_url == settings.upstream_base_url


async def test_a_start_brings_the_base_url_that_is_in_use_now(db: Database, settings: Settings) -> None:
    await begin(db, settings)
    async with db.admin() as session:
        await session.execute(update(UpstreamAccount).values(max_active_jobs=7))
    moved = dataclasses.replace(settings, upstream_base_url="http://127.0.0.1:9/v1")
    await begin(db, moved)
    row = await the_account(db)
    assert (row.base_url, row.max_active_jobs) == (moved.upstream_base_url, 7)


async def test_settings_without_an_upstream_write_no_account(db: Database, settings: Settings) -> None:
    await begin(db, dataclasses.replace(settings, upstream_base_url="", upstream_api_key=""))
    async with db.worker() as session:
        assert (await session.scalars(select(UpstreamAccount))).all() == []
