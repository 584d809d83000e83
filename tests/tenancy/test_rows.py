"""Row-level security, table by table: a new table without isolation fails here by itself."""

import datetime as dt
import zlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    Column,
    Date,
    DateTime,
    Double,
    Float,
    LargeBinary,
    Table,
    Text,
    bindparam,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from cli.embedded import SERVICE, SUPERUSER
from service.database.engine import SERVICE_ROLE, create_engine
from service.database.sqlstates import sqlstate_of
from service.database.tables import TENANT_TABLES, Base
from tests.stack import Servers, run_async

MINE, THEIRS = "proj_mine", "proj_theirs"
DENIED = "42501"
HELD_BY_CHECKS: dict[str, dict[str, Any]] = {
    "api_keys": {"kind": "project"},
    "audit_logs": {"actor": "api_key"},
    "deletions": {"kind": "project"},
    "files": {"status": "uploaded"},
    "jobs": {"state": "validating"},
    "job_events": {"level": "info", "type": "message"},
    "models": {"kind": "model"},
    "ledger_entries": {"kind": "reserve"},
    "runs": {"kind": "generation"},
    "run_calls": {"refusal": "No."},
    "run_events": {"level": "info", "type": "message"},
    "upstream_accounts": {"kind": "openai"},
    "alias_promotions": {"action": "promoted", "key_id": "key_1"},
}
"""Values that a CHECK wants; everything else is made up by the column's type."""


@pytest.fixture(scope="module")
def name(servers: Servers) -> Iterator[str]:
    """A database in which every tenant table has a row of either project."""
    with servers.fresh_database() as made:
        run_async(_fill(servers.postgres.url(SUPERUSER, made)))
        yield made


@pytest.fixture
async def engine(servers: Servers, name: str) -> AsyncIterator[AsyncEngine]:
    """Connections as the service has them: its login, in the role that owns nothing."""
    made = create_engine(servers.postgres.url(SERVICE, name), pool_size=1)
    yield made
    await made.dispose()


@asynccontextmanager
async def scoped(engine: AsyncEngine, scope: str | None, project: str = "") -> AsyncIterator[AsyncConnection]:
    """A transaction with a scope, rolled back at the end."""
    async with engine.connect() as connection:
        if scope is not None:
            await connection.execute(
                text("SELECT set_config('tunegate.scope', :s, true), set_config('tunegate.project', :p, true)"),
                {"s": scope, "p": project},
            )
        yield connection
        await connection.rollback()


async def denied(connection: AsyncConnection, statement: str, **values: Any) -> bool:
    """Whether Postgres refuses a statement for want of a right."""
    try:
        async with connection.begin_nested():
            await connection.execute(text(statement), values)
    except DBAPIError as error:
        return sqlstate_of(error) == DENIED
    return False


@pytest.mark.parametrize("table", TENANT_TABLES)
class TestTable:
    def column(self, table: str) -> str:
        return "id" if table == "projects" else "project_id"

    async def test_shows_one_project_s_rows(self, engine: AsyncEngine, table: str) -> None:
        async with scoped(engine, "project", MINE) as connection:
            seen = (await connection.scalars(text(f"SELECT {self.column(table)} FROM {table}"))).all()
        assert set(seen) == {MINE}

    @pytest.mark.parametrize(("scope", "project"), [(None, ""), ("project", ""), ("nonsense", MINE), ("", MINE)])
    async def test_shows_nothing_without_a_scope(
        self, engine: AsyncEngine, table: str, scope: str | None, project: str
    ) -> None:
        async with scoped(engine, scope, project) as connection:
            assert await connection.scalar(text(f"SELECT count(*) FROM {table}")) == 0
            assert await self.cannot_insert(connection, table)

    async def test_lets_nothing_be_written_for_another(self, engine: AsyncEngine, table: str) -> None:
        column = self.column(table)
        async with scoped(engine, "project", MINE) as connection:
            for verb in (f"UPDATE {table} SET {column} = {column}", f"DELETE FROM {table}"):
                statement = f"{verb} WHERE {column} = '{THEIRS}'"
                assert await denied(connection, statement) or await self.touched(connection, statement) == 0
            assert await self.cannot_insert(connection, table)
            assert await denied(connection, f"UPDATE {table} SET {column} = '{THEIRS}'")

    async def test_shows_the_workers_and_administrators_all(self, engine: AsyncEngine, table: str) -> None:
        for scope in ("worker", "admin"):
            async with scoped(engine, scope) as connection:
                seen = (await connection.scalars(text(f"SELECT {self.column(table)} FROM {table}"))).all()
            assert set(seen) == {MINE, THEIRS}

    async def touched(self, connection: AsyncConnection, statement: str) -> int:
        return int((await connection.execute(text(statement))).rowcount)

    async def cannot_insert(self, connection: AsyncConnection, table: str) -> bool:
        columns, values = _row(Base.metadata.tables[table], THEIRS, "new")
        placed = ", ".join(f":{name}" for name in columns)
        try:
            async with connection.begin_nested():
                await connection.execute(
                    _typed(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({placed})", table), values
                )
        except DBAPIError as error:
            return sqlstate_of(error) == DENIED
        return False


class TestCatalogue:
    async def test_every_table_of_a_project_is_guarded(self, engine: AsyncEngine) -> None:
        query = """
            SELECT c.relname, c.relrowsecurity AND c.relforcerowsecurity, count(p.polname)
            FROM pg_class c
            JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = 'public'
            LEFT JOIN pg_policy p ON p.polrelid = c.oid
            WHERE c.relkind IN ('r', 'p') AND (c.relname = 'projects' OR EXISTS (
                SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'project_id' AND NOT a.attisdropped
            ))
            GROUP BY 1, 2
        """
        async with engine.connect() as connection:
            found = {row[0]: (row[1], row[2] > 0) for row in await connection.execute(text(query))}
        assert found == dict.fromkeys(found, (True, True))
        assert set(found) == set(TENANT_TABLES)

    async def test_the_service_s_role_owns_nothing_and_bypasses_nothing(self, engine: AsyncEngine) -> None:
        async with engine.connect() as connection:
            assert await connection.scalar(text("SELECT current_user")) == SERVICE_ROLE
            role = (
                await connection.execute(
                    text("SELECT rolsuper, rolbypassrls, rolcanlogin FROM pg_roles WHERE rolname = current_user")
                )
            ).one()
            assert tuple(role) == (False, False, False)
            owned = "SELECT count(*) FROM pg_class WHERE relowner = (SELECT oid FROM pg_roles WHERE rolname = :role)"
            assert await connection.scalar(text(owned), {"role": SERVICE_ROLE}) == 0
            assert await denied(connection, "ALTER TABLE files DISABLE ROW LEVEL SECURITY")
            assert await denied(connection, "SET session_replication_role = replica")

    async def test_references_between_tenant_tables_stay_inside_a_project(self) -> None:
        """Foreign keys are checked past row-level security, so each must carry the project.

        An account may be shared, so what refers to it cannot: a trigger stands in (tests/upstreams/test_api.py).
        """
        for name in TENANT_TABLES:
            for constraint in Base.metadata.tables[name].foreign_key_constraints:
                target = constraint.referred_table.name
                if target in TENANT_TABLES and target not in ("projects", "upstream_accounts"):
                    assert "project_id" in constraint.column_keys, f"{name} → {target}"


async def _fill(superuser_url: str) -> None:
    engine = create_engine(superuser_url, pool_size=1, role=None)
    async with engine.begin() as connection:
        await connection.execute(text("SET LOCAL session_replication_role = replica"))
        for project in (MINE, THEIRS):
            for name in TENANT_TABLES:
                columns, values = _row(Base.metadata.tables[name], project, "first")
                placed = ", ".join(f":{column}" for column in columns)
                await connection.execute(
                    _typed(f"INSERT INTO {name} ({', '.join(columns)}) VALUES ({placed})", name), values
                )
    await engine.dispose()


def _typed(statement: str, table: str) -> Any:
    columns = Base.metadata.tables[table].columns
    made = text(statement)
    return made.bindparams(*(bindparam(name, type_=columns[name].type) for name in made._bindparams))


def _row(table: Table, project: str, salt: str) -> tuple[list[str], dict[str, Any]]:
    values: dict[str, Any] = {}
    for column in table.columns:
        if column.name == "project_id" or (table.name == "projects" and column.name == "id"):
            values[column.name] = project if salt == "first" or table.name != "projects" else f"{project}-{salt}"
        elif column.name in HELD_BY_CHECKS.get(table.name, {}):
            values[column.name] = HELD_BY_CHECKS[table.name][column.name]
        elif not column.nullable and column.server_default is None:
            values[column.name] = _made_up(column, f"{project}-{salt}")
    return list(values), values


def _made_up(column: Column[Any], name: str) -> Any:
    match column.type:
        case Text():
            return f"{column.name}-{name}"
        case LargeBinary():
            return name.encode()
        case BigInteger():
            return zlib.crc32(name.encode()) % 1000 + 1
        case Boolean():
            return False
        case DateTime():
            return dt.datetime.now(dt.UTC)
        case Date():
            return dt.date(2026, 10, 1)
        case JSONB():
            return {}
        case ARRAY():
            return []
        case Double() | Float():
            return 0.5
        case other:
            raise NotImplementedError(f"{column}: how is a {other} made up?")
