"""The privileges that docs/operations.md asks of a Postgres without superusers are enough, and no fewer are."""

import re
from collections.abc import Iterator

import asyncpg
import pytest
from sqlalchemy import text

from cli.embedded import LOOPBACK, SUPERUSER, execute
from service.database.engine import Database, create_engine
from service.database.migrations import upgrade
from service.database.problems import DatabaseUnusable
from service.database.schema import check_schema
from service.settings import Settings
from service.wakeups import Wakeups
from tests.docs.blocks import blocks
from tests.stack import Servers, run_async, running_servers
from tests.wire import eventually

PASSWORD = "of-a-login-here"
ADMINISTRATOR = "cloud_administrator"


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    """A server of its own, since roles belong to the whole server, with an administrator as clouds give one."""
    with running_servers() as started:
        ready = started.postgres.program(started.folder / "postgres.log").ready
        assert ready is not None
        eventually(ready)
        _as(started, SUPERUSER, f"CREATE ROLE {ADMINISTRATOR} LOGIN CREATEDB CREATEROLE PASSWORD '{PASSWORD}'")
        yield started


@pytest.fixture
def clean(servers: Servers) -> Iterator[Servers]:
    """The server without what a test has made."""
    yield servers
    for name in ("tunegate", "other"):
        _as(servers, SUPERUSER, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
    for role in ("tunegate", "tunegate_owner", "tunegate_service"):
        _as(servers, SUPERUSER, f"DROP ROLE IF EXISTS {role}")


def documented() -> list[str]:
    """The statements of the document, with a password."""
    (block,) = (each for each in blocks("docs/operations.md") if each.other_test.endswith("test_managed_postgres.py"))
    return [statement.strip() for statement in block.content.replace("…", PASSWORD).split(";") if statement.strip()]


def test_the_documented_privileges_are_enough(clean: Servers) -> None:
    for statement in documented():
        _as(clean, ADMINISTRATOR, statement)
    settings = _settings(clean)
    upgrade(settings)
    run_async(check_schema(settings, application="test"))
    run_async(check_schema(Settings(database_url=settings.migration_url), application="one login for both"))
    run_async(_use(settings))


@pytest.mark.parametrize("left_out", [statement for statement in documented() if statement.startswith("GRANT")])
def test_each_grant_is_needed(clean: Servers, left_out: str) -> None:
    with pytest.raises((DatabaseUnusable, asyncpg.InsufficientPrivilegeError)) as caught:
        for statement in documented():
            if statement != left_out:
                _as(clean, ADMINISTRATOR, statement)
        upgrade(_settings(clean))
    if isinstance(caught.value, DatabaseUnusable):
        assert "GRANT tunegate_service TO tunegate_owner" in str(caught.value), "it says what an administrator runs"


def test_an_owner_that_may_create_roles_makes_the_services_own(clean: Servers) -> None:
    made = [statement for statement in documented() if "tunegate_service" not in statement]
    for statement in made:
        _as(clean, ADMINISTRATOR, re.sub(r"(tunegate_owner LOGIN)", r"\1 CREATEROLE", statement))
    settings = _settings(clean)
    upgrade(settings)
    _as(clean, "tunegate_owner", "GRANT tunegate_service TO tunegate", database="tunegate")
    run_async(_use(settings))


async def _use(settings: Settings) -> None:
    """Write and read as the service does: nothing is visible outside of a scope."""
    db = Database(create_engine(settings.database_url, pool_size=1), Wakeups(""))
    try:
        async with db.admin() as session:
            await session.execute(text("INSERT INTO projects (id, name) VALUES ('proj_here', 'here')"))
        async with db.project("proj_here") as session:
            assert (await session.execute(text("SELECT name FROM projects"))).scalars().all() == ["here"]
        async with db.project("proj_elsewhere") as session:
            assert (await session.execute(text("SELECT name FROM projects"))).scalars().all() == []
    finally:
        await db.close()
    owner = await asyncpg.connect(settings.migration_url)  # type: ignore[no-untyped-call]
    try:
        assert await owner.fetch("SELECT name FROM projects") == [], "row-level security applies to the owner too"
    finally:
        await owner.close()


def _settings(servers: Servers) -> Settings:
    return Settings(
        database_url=_url(servers, "tunegate", "tunegate"),
        owner_database_url=_url(servers, "tunegate_owner", "tunegate"),
    )


def _url(servers: Servers, login: str, database: str) -> str:
    if login == SUPERUSER:
        return servers.postgres.url(SUPERUSER, database)
    return f"postgresql://{login}:{PASSWORD}@{LOOPBACK}:{servers.postgres.port}/{database}"


def _as(servers: Servers, login: str, statement: str, *, database: str = "postgres") -> None:
    run_async(execute(_url(servers, login, database), statement))
