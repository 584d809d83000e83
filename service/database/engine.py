"""The database engine, and transactions whose scope Postgres enforces.

One of the methods of `Database` opens every transaction, and row-level security limits it to that scope: `project` and
`read` see one project's rows, `worker` claims work across projects, `admin` serves the organisation's API and key
look-up.
Connections run as the role `tunegate_service`, which owns nothing and cannot bypass the policies.

Every wait for Postgres has a timeout, even if the server accepts packets and never responds: connecting, a check that a
pooled connection still works, and each statement. A connection on which a timeout expired is dropped and not rolled
back, since the rollback would wait for the same server.

Projects share the connections of a process (`service/fair_places.py`): a burst of one project waits for its own
transactions, and others find a connection. Some connections are for the other scopes only, so key look-ups, readiness
and work across projects never wait for projects' requests.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

import msgspec
from sqlalchemy import URL, event, text
from sqlalchemy.dialects.postgresql.asyncpg import AsyncAdapt_asyncpg_dbapi
from sqlalchemy.exc import DBAPIError, InvalidatePoolError, InvalidRequestError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine

from service.database.problems import check_url
from service.database.reads import Reader
from service.errors import Unavailable
from service.fair_places import FairPlaces
from service.wakeups import Wakeups, take_wakeups

Connection = TypeVar("Connection")

SERVICE_ROLE = "tunegate_service"

CONNECT_SECONDS = 5.0
PING_SECONDS = 2.0
STATEMENT_SECONDS = 15.0
"""The timeout of one statement, longer than a request's wait for an equal one (5 s, `http.idempotency`)."""

POOL_WAIT_SECONDS = 10.0
RESERVED_SHARE = 0.2
"""The part of the connections that transactions of the scope `project` leave to the others."""

CONNECTION_LOST = ("08", "57P")
"""SQLSTATE classes after which a connection cannot be used (PostgreSQL manual, appendix A)."""

SERVER_TIMEOUTS = {
    "idle_in_transaction_session_timeout": "60s",
    "tcp_keepalives_idle": "15",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "30s",
}
"""Settings by which Postgres detects that this process vanished, so that a dead machine's locks are released."""


def asyncpg_url(url: str) -> URL:
    """The same database for SQLAlchemy's asyncpg driver; libpq's `sslmode` becomes asyncpg's `ssl`.

    Raises `DatabaseUnusable` for a missing or malformed URL.
    """
    parsed = check_url(url).set(drivername="postgresql+asyncpg")
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
    """An engine whose connections use `role`. Migrations pass None: the login's own role, no statement timeout."""
    server_settings = {"application_name": application, "timezone": "UTC", "jit": "off", **SERVER_TIMEOUTS}
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
    event.listen(engine.sync_engine, "checkout", _begin)
    event.listen(engine.sync_engine, "checkin", _drop_open_transaction)
    return engine


_BEGIN: ContextVar[str] = ContextVar("begin", default="SELECT 1")
"""What a connection executes first: the beginning of a transaction with its scope, or only a check that it responds."""


def _begin(connection: Any, record: Any, proxy: Any) -> None:
    """Begin the transaction in one round trip, which also shows that a pooled connection responds.

    One that does not is replaced, and with it all that are as old. Used instead of SQLAlchemy's `pool_pre_ping`, which
    takes three round trips and reports a timeout as an error.
    """
    statement = _BEGIN.get()
    try:
        connection.run_async(lambda driver: driver.execute(statement, timeout=PING_SECONDS))
    except Exception as error:
        connection.driver_connection.terminate()
        raise InvalidatePoolError(f"a pooled connection is dead: {error!r}") from error
    except BaseException:
        connection.driver_connection.terminate()
        raise


def _drop_open_transaction(connection: Any, record: Any) -> None:
    """Close a connection whose transaction is still open: no other scope may ever continue in it."""
    if connection is not None and connection.driver_connection.is_in_transaction():
        connection.driver_connection.terminate()
        record.invalidate()


def project_connections(pool_size: int) -> int:
    """How many of a pool's connections transactions of projects may occupy together."""
    return pool_size - int(RESERVED_SHARE * pool_size)


def _pool_size(engine: AsyncEngine) -> int:
    return engine.pool.size()  # type: ignore[attr-defined,no-any-return]


def _is_unusable_after(error: BaseException) -> bool:
    """Whether a connection may be in an unknown state after this error, so that it is dropped, not rolled back."""
    if isinstance(error, DBAPIError):
        state = getattr(error.orig, "sqlstate", None)
        return error.connection_invalidated or state is None or state.startswith(CONNECTION_LOST)
    return isinstance(error, (OSError, asyncio.CancelledError))


async def _connected(connect: Callable[[], Awaitable[Connection]], beginning: str) -> Connection:
    """What `connect` takes from the pool: a connection on which `beginning` was executed.

    Raises `ConnectionError` if two in a row were dead when they were checked, and `DBAPIError` if Postgres refused a
    new one or closed it.
    """
    reset = _BEGIN.set(beginning)
    try:
        return await connect()
    except InvalidRequestError as error:  # raised by the pool; nothing else can be invalid yet
        raise ConnectionError("Postgres closes connections as soon as they are opened") from error
    except AsyncAdapt_asyncpg_dbapi.Error as error:  # a session's connection raises it translated
        raise DBAPIError("connect", None, error) from error
    finally:
        _BEGIN.reset(reset)


async def _rolled_back(driver: Any) -> bool:
    """Roll back, if the connection still works. Returns whether it can be used again."""
    try:
        await driver.execute("ROLLBACK", timeout=PING_SECONDS)
    except Exception:
        return False
    return True


_COMMIT = text("COMMIT")


def _beginning(scope: str, project_id: str, *settings: str, mode: str = "") -> str:
    """The statements that begin a transaction of a scope: all of them are sent at once, and so have no parameters."""
    quoted = project_id.replace("'", "''")
    calls = [f"set_config('tunegate.scope', '{scope}', true)", f"set_config('tunegate.project', '{quoted}', true)"]
    return f"BEGIN {mode}; SELECT {', '.join([*calls, *settings])}"


_WORKER = _beginning("worker", "")


def _without(*plans: str) -> list[str]:
    return [f"set_config('enable_{plan}', 'off', true)" for plan in plans]


_CLAIMS = _beginning("worker", "", *_without("bitmapscan", "seqscan"))
_COMPILED = _beginning(
    "worker",
    "",
    *_without("bitmapscan", "hashjoin", "material", "mergejoin", "seqscan"),
    "set_config('plan_cache_mode', 'force_generic_plan', true)",
    "set_config('idle_in_transaction_session_timeout', '3s', true)",
)
_ADMIN = _beginning("admin", "")
_SNAPSHOT = _beginning("worker", "", mode="ISOLATION LEVEL REPEATABLE READ READ ONLY")


class Database:
    """Scoped transactions. One action, one transaction: each method opens one and commits it at the end.

    Wake-ups that the action added (`leased_work.wake`) are sent after the commit, best effort.
    """

    def __init__(self, engine: AsyncEngine, wakeups: Wakeups) -> None:
        self.engine = engine
        # The driver begins no transaction of its own, since `_begin` has begun one with its scope.
        self._sessions = async_sessionmaker(
            engine.execution_options(isolation_level="AUTOCOMMIT"), expire_on_commit=False
        )
        self._places = FairPlaces(project_connections(_pool_size(engine)))
        self._in_project: set[asyncio.Task[Any] | None] = set()
        self.wakeups = wakeups

    @asynccontextmanager
    async def project(self, project_id: str) -> AsyncIterator[AsyncSession]:
        """A transaction that sees one project's rows.

        Raises `Unavailable` when the project's other transactions occupy its share of the connections for
        `POOL_WAIT_SECONDS`, and `RuntimeError` inside another transaction of a project: those that wait for their
        second place could occupy all the first ones.
        """
        async with self._occupied_place(project_id), self._scoped(_beginning("project", project_id)) as session:
            yield session

    @asynccontextmanager
    async def read(self, project_id: str) -> AsyncIterator[Reader]:
        """A read-only transaction that sees one project's rows, for queries that are compiled once (`reads`).

        Raises as `project` does.
        """
        async with (
            self._occupied_place(project_id),
            self._compiled(_beginning("project", project_id, mode="READ ONLY")) as reader,
        ):
            yield reader

    @asynccontextmanager
    async def worker(self) -> AsyncIterator[AsyncSession]:
        """A worker's transaction, which sees the rows of all projects."""
        async with self._scoped(_WORKER) as session:
            yield session

    @asynccontextmanager
    async def compiled_worker(self) -> AsyncIterator[Reader]:
        """As `worker`, for queries that are compiled once (`reads`), may write, and find each row by an index.

        Postgres plans each once for a connection, since planning takes longer than execution. Such a plan may be made
        while a table is empty, so it must not read whole tables or indexes, as it would for hash and merge joins.
        It may lock rows of many projects, so Postgres ends it after 3 s without a statement: a paused process delays
        the others by less than their statement's timeout.
        """
        async with self._compiled(_COMPILED) as reader:
            yield reader

    @asynccontextmanager
    async def claims(self) -> AsyncIterator[AsyncSession]:
        """A worker's transaction on leased work, whose queries read rows by their ids or the first ones of an index.

        By its statistics, which are outdated for rows that change all the time, Postgres would read a whole backlog
        and sort it (a bitmap scan), or the whole table: a plan that was made while it was small remains in use.
        """
        async with self._scoped(_CLAIMS) as session:
            yield session

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[AsyncSession]:
        """A read-only transaction over all projects in which every query sees the same snapshot."""
        async with self._scoped(_SNAPSHOT) as session:
            yield session

    @asynccontextmanager
    async def admin(self) -> AsyncIterator[AsyncSession]:
        """A transaction of the organisation's API, or of key look-up."""
        async with self._scoped(_ADMIN) as session:
            yield session

    @asynccontextmanager
    async def _occupied_place(self, project_id: str) -> AsyncIterator[None]:
        task = asyncio.current_task()
        if task in self._in_project:
            raise RuntimeError("A project's transaction is opened inside another. Open one after the other.")
        await self._take_place(project_id)
        self._in_project.add(task)
        try:
            yield
        finally:
            self._in_project.discard(task)
            self._places.release(project_id)

    async def _take_place(self, project_id: str) -> None:
        try:
            async with asyncio.timeout(POOL_WAIT_SECONDS):
                await self._places.take(project_id)
        except TimeoutError:
            raise Unavailable(
                f"The project's requests occupy its share of the database connections: "
                f"{self._places.occupied_by(project_id)} of {_pool_size(self.engine)} (TUNEGATE_DATABASE_POOL_SIZE), "
                f"for {POOL_WAIT_SECONDS:g} s. Send fewer requests at the same time.",
                retry_after_seconds=1,
            ) from None

    @asynccontextmanager
    async def _compiled(self, beginning: str) -> AsyncIterator[Reader]:
        connection = await _connected(self.engine.raw_connection, beginning)
        driver: Any = connection.driver_connection
        try:
            reader = Reader(driver)
            yield reader
            await reader.commit()
        except (Exception, asyncio.CancelledError) as error:
            if _is_unusable_after(error) or not await _rolled_back(driver):
                driver.terminate()
                connection.invalidate()
            raise
        finally:
            connection.close()

    @asynccontextmanager
    async def _scoped(self, beginning: str) -> AsyncIterator[AsyncSession]:
        async with self._sessions() as session:
            driver = (await (await _connected(session.connection, beginning)).get_raw_connection()).driver_connection
            try:
                yield session
                await session.flush()
                await session.execute(_COMMIT)
                await session.commit()
            except (Exception, asyncio.CancelledError) as error:
                if _is_unusable_after(error) or not await _rolled_back(driver):
                    if driver is not None:
                        driver.terminate()
                    await session.invalidate()
                raise
        self.wakeups.send(take_wakeups(session))

    async def close(self) -> None:
        """Close every connection."""
        await self.wakeups.close()
        await self.engine.dispose()
