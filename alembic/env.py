"""Alembic's environment: runs the migrations as the schema's owner, with short lock and statement timeouts."""

import asyncio
import os

from sqlalchemy import Connection, text

from alembic import context
from service.database.advisory_locks import MIGRATIONS
from service.database.engine import create_engine
from service.database.problems import DatabaseUnusable, old_version
from service.database.tables import Base
from service.settings import Settings

LOCK_TIMEOUT = "5s"
STATEMENT_TIMEOUT = "5min"


def _run(connection: Connection) -> None:
    version = int(connection.execute(text("SHOW server_version_num")).scalar_one())
    if (problem := old_version(version)) is not None:
        raise DatabaseUnusable(problem)
    connection.execute(text(f"SET lock_timeout = '{LOCK_TIMEOUT}'"))
    connection.execute(text(f"SET statement_timeout = '{STATEMENT_TIMEOUT}'"))
    connection.execute(MIGRATIONS.take_session())
    connection.commit()
    context.configure(connection=connection, target_metadata=Base.metadata, compare_server_default=True)
    with context.begin_transaction():
        context.run_migrations()


async def _connect() -> None:
    url = context.config.attributes.get("url") or Settings.from_env(os.environ).migration_url
    engine = create_engine(url, pool_size=1, role=None, application="tunegate-migrate", statement_seconds=None)
    try:
        async with engine.connect() as connection:
            await connection.run_sync(_run)
    finally:
        await engine.dispose()


asyncio.run(_connect())
