"""Reads with compiled statements have the scope and the errors of other transactions, and leave none open."""

import asyncio
from collections.abc import AsyncIterator
from typing import NamedTuple

import pytest
from sqlalchemy import Text, any_, bindparam, func, select, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.exc import DBAPIError

from cli.embedded import SUPERUSER, execute
from service.database.engine import Database, create_engine
from service.database.reads import Query, columns
from service.database.tables import Project
from service.http.errors import as_api_error
from service.wakeups import Wakeups
from tests.stack import Servers

SCOPE = Query(
    lambda scope, project: (scope, project),
    select(func.current_setting("tunegate.scope", True), func.current_setting("tunegate.project", True)),
)


class ProjectRow(NamedTuple):
    """Some columns of a project."""

    id: str
    name: str
    status: str


PROJECTS = Query(
    ProjectRow,
    select(*columns(Project, ProjectRow)).where(
        Project.status == "active", Project.id == any_(bindparam("ids", type_=ARRAY(Text)))
    ),
)
IDS = ["proj_one", "proj_two"]


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Database]:
    """A database with two projects and one connection, so that every transaction uses the one before."""
    opened = Database(create_engine(database_url, pool_size=1), Wakeups(""))
    async with opened.admin() as session:
        session.add_all(Project(id=each, name=each) for each in IDS)
    yield opened
    await opened.close()


async def test_a_read_sees_one_projects_rows(db: Database) -> None:
    for project_id in IDS:
        async with db.read(project_id) as reader:
            assert await reader.first(SCOPE) == ("project", project_id)
            assert await reader.all(PROJECTS, ids=IDS) == [ProjectRow(project_id, project_id, "active")]
            assert await reader.first(PROJECTS, ids=["proj_none"]) is None
    async with db.worker() as session:
        assert await session.scalar(text("SELECT current_setting('tunegate.scope')")) == "worker"
    async with db.engine.connect() as connection:
        assert not await connection.scalar(text("SELECT current_setting('tunegate.scope', true)"))


async def test_a_parameter_that_is_missing_is_an_error_and_no_null(db: Database) -> None:
    async with db.read("proj_one") as reader:
        with pytest.raises(KeyError, match="ids"):
            await reader.all(PROJECTS)


async def test_a_read_cannot_write(db: Database) -> None:
    with pytest.raises(DBAPIError, match="read-only"):
        async with db.read("proj_one") as reader:
            await reader.all(Query(str, select(Project.id).with_for_update()))
    async with db.read("proj_one") as reader:
        assert await reader.first(SCOPE) == ("project", "proj_one")


async def test_what_fails_inside_leaves_no_open_transaction(db: Database) -> None:
    with pytest.raises(ValueError, match="inside"):
        async with db.read("proj_one"):
            raise ValueError("inside")
    async with db.engine.connect() as connection:
        assert not await connection.scalar(text("SELECT current_setting('tunegate.scope', true)"))


async def test_a_cancelled_read_is_not_continued(db: Database) -> None:
    begun = asyncio.Event()

    async def wait() -> None:
        async with db.read("proj_one"):
            begun.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(wait())
    await begun.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    async with db.read("proj_two") as reader:
        assert await reader.first(SCOPE) == ("project", "proj_two")


async def test_a_read_inside_a_transaction_of_a_project_is_refused(db: Database) -> None:
    async with db.project("proj_one"):
        with pytest.raises(RuntimeError, match="inside another"):
            async with db.read("proj_one"):
                pass


async def test_a_connection_that_ends_during_a_read_is_no_internal_error_and_is_replaced(
    db: Database, servers: Servers
) -> None:
    with pytest.raises(DBAPIError) as raised:
        async with db.read("proj_one") as reader:
            pid = await reader.first(Query(int, select(func.pg_backend_pid())))
            await execute(servers.postgres.url(SUPERUSER, "postgres"), f"SELECT pg_terminate_backend({pid}, 10000)")
            await reader.first(SCOPE)
    assert as_api_error(None, raised.value).status == 503  # type: ignore[arg-type]  # the request is not used
    async with db.read("proj_one") as reader:
        assert await reader.first(SCOPE) == ("project", "proj_one")


async def test_what_cannot_be_stored_is_the_callers_fault(db: Database) -> None:
    with pytest.raises(DBAPIError) as raised:
        async with db.read("proj_one") as reader:
            await reader.all(PROJECTS, ids=["\0"])
    assert as_api_error(None, raised.value).status == 400  # type: ignore[arg-type]  # the request is not used


@pytest.mark.parametrize("way", ["read", "compiled_worker", "worker"])
async def test_a_connection_that_is_closed_while_it_opens_is_unavailable(way: str) -> None:
    async def close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.close()

    server = await asyncio.start_server(close, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    opened = Database(
        create_engine(f"postgresql://one@127.0.0.1:{port}/none?sslmode=disable", pool_size=1), Wakeups("")
    )
    begin = opened.read("proj_one") if way == "read" else getattr(opened, way)()
    with pytest.raises((DBAPIError, OSError)) as raised:
        async with begin:
            pytest.fail("a transaction begins")
    assert as_api_error(None, raised.value).status == 503  # type: ignore[arg-type]  # the request is not used
    await opened.close()
    server.close()
