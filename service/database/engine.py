"""The engine, and transactions that carry their scope into Postgres.

Every transaction is opened by one of three functions, and row-level security holds it to that scope: `project` sees
one project's rows, `worker` claims work across projects, `admin` serves the organisation's API and the look-up of
keys. Connections run as the role `tunegate_service`, which owns nothing and cannot bypass the policies.

Every wait for Postgres has an end, also for a server that takes our packets and never answers: connecting, a look
whether a pooled connection still works, and each statement. A connection on which such a time ran out is dropped and
not rolled back, since the rollback would wait for the same silence.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from sqlalchemy import URL, event, make_url, text
from sqlalchemy.exc import DBAPIError, InvalidatePoolError, InvalidRequestError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine

from service.wakeups import Wakeups, take_wakeups

SERVICE_ROLE = "tunegate_service"

CONNECT_SECONDS = 5.0
PING_SECONDS = 2.0
STATEMENT_SECONDS = 15.0
"""One statement. Longer than a racer's wait for an equal request (5 s), shorter than anybody's patience."""

POOL_WAIT_SECONDS = 10.0
CONNECTION_LOST = ("08", "57P")
"""SQLSTATE classes after which a connection is no use (PostgreSQL manual, appendix A)."""

SERVER_FORGETS = {
    "idle_in_transaction_session_timeout": "60s",
    "tcp_keepalives_idle": "15",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "30s",
}
"""How Postgres notices that we have vanished without a word, so that the locks of a dead machine do not stay."""


def asyncpg_url(url: str) -> URL:
    """The same database for SQLAlchemy's asyncpg driver; libpq's `sslmode` becomes asyncpg's `ssl`."""
    parsed = make_url(url).set(drivername="postgresql+asyncpg")
    if "sslmode" in parsed.query:
        mode = parsed.query["sslmode"]
        parsed = parsed.difference_update_query(["sslmode"]).update_query_dict({"ssl": mode})
    return parsed


def create_engine(
    url: str,
    *,
    pool_size: int,
    role: str | None = SERVICE_ROLE,
    application: str = "tunegate",
    statement_seconds: float | None = STATEMENT_SECONDS,
) -> AsyncEngine:
    """An engine whose connections have taken `role` on. Migrations have None: the login's own, and no end of time."""
    server_settings = {"application_name": application, "timezone": "UTC", "jit": "off", **SERVER_FORGETS}
    if role is not None:
        server_settings["role"] = role
    engine = create_async_engine(
        asyncpg_url(url),
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=POOL_WAIT_SECONDS,
        connect_args={
            "server_settings": server_settings,
            "timeout": CONNECT_SECONDS,
            "command_timeout": statement_seconds,
        },
        json_serializer=lambda value: msgspec.json.encode(value).decode(),
        json_deserializer=msgspec.json.decode,
    )
    event.listen(engine.sync_engine, "checkout", _check_alive)
    return engine


def _check_alive(connection: Any, record: Any, proxy: Any) -> None:
    """A pooled connection that does not answer is replaced, and with it all that are as old.

    In the place of SQLAlchemy's `pool_pre_ping`, which takes three round trips and lets a time-out through as an error.
    """
    try:
        connection.run_async(lambda driver: driver.execute("SELECT 1", timeout=PING_SECONDS))
    except Exception as error:
        connection.driver_connection.terminate()
        raise InvalidatePoolError(f"a pooled connection is dead: {error!r}") from error
    except BaseException:
        connection.driver_connection.terminate()
        raise


def _leaves_it_broken(error: BaseException) -> bool:
    """Whether a connection may be in the middle of something after this error: then it is not rolled back."""
    if isinstance(error, DBAPIError):
        state = getattr(error.orig, "sqlstate", None)
        return error.connection_invalidated or state is None or state.startswith(CONNECTION_LOST)
    return isinstance(error, (OSError, asyncio.CancelledError))


async def _connected(session: AsyncSession) -> AsyncConnection:
    """The session's connection. Raises `ConnectionError` where two in a row were dead as they were looked at."""
    try:
        return await session.connection()
    except InvalidRequestError as error:  # the pool's word for it, and nothing else can be invalid yet
        raise ConnectionError("Postgres ends connections as soon as they are made") from error


_SCOPE = text("SELECT set_config('tunegate.scope', :scope, true), set_config('tunegate.project', :project, true)")


class Database:
    """Scoped transactions. One action, one transaction: each function opens one and commits at its end.

    Wake-ups that the action added (`leased_work.wake`) are sent after the commit, best effort.
    """

    def __init__(self, engine: AsyncEngine, wakeups: Wakeups) -> None:
        self.engine = engine
        self._sessions = async_sessionmaker(engine, expire_on_commit=False)
        self.wakeups = wakeups

    @asynccontextmanager
    async def project(self, project_id: str) -> AsyncIterator[AsyncSession]:
        """A transaction that sees one project."""
        async with self._scoped("project", project_id) as session:
            yield session

    @asynccontextmanager
    async def worker(self) -> AsyncIterator[AsyncSession]:
        """A transaction of a worker: sees the work of all projects."""
        async with self._scoped("worker", "") as session:
            yield session

    @asynccontextmanager
    async def admin(self) -> AsyncIterator[AsyncSession]:
        """A transaction of the organisation's API, or of the look-up of a key."""
        async with self._scoped("admin", "") as session:
            yield session

    @asynccontextmanager
    async def _scoped(self, scope: str, project_id: str) -> AsyncIterator[AsyncSession]:
        async with self._sessions() as session:
            driver = (await (await _connected(session)).get_raw_connection()).driver_connection
            try:
                await session.execute(_SCOPE, {"scope": scope, "project": project_id})
                yield session
                await session.commit()
            except (Exception, asyncio.CancelledError) as error:
                if _leaves_it_broken(error):
                    if driver is not None:
                        driver.terminate()
                    await session.invalidate()
                raise
        self.wakeups.send(take_wakeups(session))

    async def close(self) -> None:
        """Return every connection."""
        await self.wakeups.close()
        await self.engine.dispose()
