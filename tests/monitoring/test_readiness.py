"""Readiness sees due work of every kind, in the scope in which it is asked."""

from collections.abc import AsyncIterator

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from cli.embedded import SUPERUSER
from service.database import leased_work
from service.database.engine import SERVICE_ROLE, create_engine
from service.database.leased_work import LeasedWork
from service.monitoring.readiness import heartbeat_and_oldest_due
from tests.stack import Servers

UNCLAIMED = ("NULL", "now() - interval '1 second'")
CLAIMED = "now() + interval '1 hour'"

CHECKS = text("SELECT conname FROM pg_constraint WHERE conrelid = to_regclass(:table) AND contype = 'c'")
REQUIRED = text(
    "SELECT attname FROM pg_attribute WHERE attrelid = to_regclass(:table) AND attnum > 0 AND attnotnull"
    " AND NOT attisdropped AND attname <> 'id'"
)


@pytest.fixture
async def connection(servers: Servers, database: str) -> AsyncIterator[AsyncConnection]:
    """A superuser's transaction, which is rolled back."""
    engine = create_engine(servers.postgres.url(SUPERUSER, database), pool_size=1, role=None)
    async with engine.connect() as opened:
        yield opened
        await opened.rollback()
    await engine.dispose()


async def insert_due(connection: AsyncConnection, work: LeasedWork, leased_until: str) -> None:
    """A row of this kind with nothing but what leases and their index read: this is not about other columns."""
    table = work.table.__tablename__
    index = {"endpoint_id": "'x'"} if hasattr(work.table, "endpoint_id") else {}
    values = {"id": "'x'", "due_at": "now() - interval '1 hour'", "leased_until": leased_until, **index}
    await connection.execute(text("SET LOCAL session_replication_role = replica"))
    for name in (await connection.scalars(CHECKS, {"table": table})).all():
        await connection.execute(text(f'ALTER TABLE {table} DROP CONSTRAINT "{name}"'))
    for name in (await connection.scalars(REQUIRED, {"table": table})).all():
        await connection.execute(text(f'ALTER TABLE {table} ALTER COLUMN "{name}" DROP NOT NULL'))
    await connection.execute(text(f"INSERT INTO {table} ({', '.join(values)}) VALUES ({', '.join(values.values())})"))


async def oldest_due_seconds(connection: AsyncConnection) -> float | None:
    """What readiness finds, with the rights of the service."""
    await connection.execute(text(f"SET LOCAL ROLE {SERVICE_ROLE}"))
    await connection.execute(text("SELECT set_config('tunegate.scope', 'worker', true)"))
    _, oldest, now = (await connection.execute(heartbeat_and_oldest_due())).one()
    return None if oldest is None else (now - oldest).total_seconds()


@pytest.mark.parametrize("leased_until", UNCLAIMED)
@pytest.mark.parametrize("work", leased_work.ALL, ids=lambda work: work.name)
async def test_due_work_that_nobody_claims_is_seen(
    connection: AsyncConnection, work: LeasedWork, leased_until: str
) -> None:
    await insert_due(connection, work, leased_until)
    assert await oldest_due_seconds(connection) == 3600


async def test_work_that_a_worker_does_is_not_late(connection: AsyncConnection) -> None:
    await insert_due(connection, leased_work.RUNS, CLAIMED)
    assert await oldest_due_seconds(connection) != 3600
