"""The engine, and transactions that carry their scope into Postgres.

Every transaction is opened by one of three functions, and row-level security holds it to that scope: `project` sees
one project's rows, `worker` claims work across projects, `admin` serves the organisation's API and the look-up of
keys. Connections run as the role `tunegate_service`, which owns nothing and cannot bypass the policies.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
from sqlalchemy import URL, make_url, text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine

from service.doorbell import Doorbell, take_hints

SERVICE_ROLE = "tunegate_service"


def asyncpg_url(url: str) -> URL:
    """The same database for SQLAlchemy's asyncpg driver; libpq's `sslmode` becomes asyncpg's `ssl`."""
    parsed = make_url(url).set(drivername="postgresql+asyncpg")
    if "sslmode" in parsed.query:
        mode = parsed.query["sslmode"]
        parsed = parsed.difference_update_query(["sslmode"]).update_query_dict({"ssl": mode})
    return parsed


def create_engine(
    url: str, *, pool_size: int, role: str | None = SERVICE_ROLE, application: str = "tunegate"
) -> AsyncEngine:
    """An engine whose connections have taken `role` on (None: the login's own, for migrations)."""
    server_settings = {"application_name": application, "timezone": "UTC", "jit": "off"}
    if role is not None:
        server_settings["role"] = role
    return create_async_engine(
        asyncpg_url(url),
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=10,
        pool_pre_ping=True,
        connect_args={"server_settings": server_settings, "timeout": 5, "command_timeout": 60},
        json_serializer=lambda value: msgspec.json.encode(value).decode(),
        json_deserializer=msgspec.json.decode,
    )


class Database:
    """Scoped transactions. One action, one transaction: each function opens one and commits at its end.

    Hints that the action left for the workers (`doorbell.hint`) are rung after the commit, best effort.
    """

    def __init__(self, engine: AsyncEngine, doorbell: Doorbell) -> None:
        self.engine = engine
        self._sessions = async_sessionmaker(engine, expire_on_commit=False)
        self.doorbell = doorbell

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
        async with self._sessions.begin() as session:
            await session.execute(
                text(
                    "SELECT set_config('tunegate.scope', :scope, true), set_config('tunegate.project', :project, true)"
                ),
                {"scope": scope, "project": project_id},
            )
            yield session
        self.doorbell.ring(take_hints(session))

    async def close(self) -> None:
        """Return every connection."""
        await self.doorbell.close()
        await self.engine.dispose()
