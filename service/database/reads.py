"""Reads that callers repeat all day: statements compiled once, executed by the driver itself, rows as named tuples.

A session builds each statement anew, looks up its compiled form, and makes objects that track changes; for one row that
is four fifths of the CPU time of a read (docs/performance.md). Here an expression of SQLAlchemy is compiled at its
first use, and asyncpg executes the SQL. Where that matters is decided by a profile: everything else uses a session.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any, Generic, TypeVar

from asyncpg.exceptions import InterfaceError as DriverError
from asyncpg.exceptions import InternalClientError, PostgresError
from sqlalchemy import CompoundSelect, Select
from sqlalchemy.dialects.postgresql.asyncpg import dialect
from sqlalchemy.exc import DBAPIError, InterfaceError
from sqlalchemy.ext.asyncio import AsyncSession

Row = TypeVar("Row")


class Query(Generic[Row]):
    """A SELECT whose rows are `row(*columns)`, usually a named tuple.

    Its parameters are its `bindparam`s: strings, numbers and, as `any_(bindparam(..., type_=ARRAY(...)))`, lists.
    A transaction of an action can execute its `statement`.
    """

    def __init__(
        self, row: Callable[..., Row], statement: Select[*tuple[Any, ...]] | CompoundSelect[*tuple[Any, ...]]
    ) -> None:
        self.row = row
        self.statement = statement

    @cached_property
    def sql(self) -> str:
        """The SQL, with parameters by position."""
        return str(self._compiled)

    def arguments(self, parameters: Mapping[str, object]) -> list[object]:
        """The values by position. Raises `KeyError` for a parameter that is missing."""
        given = {**self._constants, **parameters}
        return [given[name] for name in self._positions]

    @cached_property
    def _compiled(self) -> Any:
        return self.statement.compile(dialect=dialect())  # type: ignore[no-untyped-call]

    @cached_property
    def _positions(self) -> Sequence[str]:
        positions: Sequence[str] = self._compiled.positiontup or ()
        return positions

    @cached_property
    def _constants(self) -> Mapping[str, object]:
        """The values that the statement contains itself."""
        return {name: bind.value for name, bind in self._compiled.binds.items() if not bind.required}


class Reader:
    """A transaction that executes queries; `Database.read` and `Database.compiled_worker` open one, and `of_session`
    continues one of a session."""

    def __init__(self, driver: Any) -> None:
        self._driver = driver

    @classmethod
    async def of_session(cls, session: AsyncSession) -> "Reader":
        """The session's transaction. What the session itself has not flushed is not written yet."""
        return cls((await (await session.connection()).get_raw_connection()).driver_connection)

    async def all(self, query: Query[Row], **parameters: object) -> list[Row]:
        """All rows. Raises `DBAPIError` as a session does, and what the network raises."""
        with _translated_errors(query.sql):
            records = await self._driver.fetch(query.sql, *query.arguments(parameters))
        return [query.row(*record) for record in records]

    async def first(self, query: Query[Row], **parameters: object) -> Row | None:
        """The first row, or None."""
        rows = await self.all(query, **parameters)
        return rows[0] if rows else None

    async def commit(self) -> None:
        """End the transaction; only the method that opened it calls this. Raises as `all` does."""
        with _translated_errors("COMMIT"):
            await self._driver.execute("COMMIT")


@contextmanager
def _translated_errors(sql: str) -> Iterator[None]:
    """Raise the driver's errors as SQLAlchemy's."""
    try:
        yield
    except PostgresError as error:
        raise DBAPIError(sql, None, error) from error
    except (DriverError, InternalClientError) as error:
        raise InterfaceError(sql, None, error) from error


def columns(table: Any, row: Any) -> list[Any]:
    """The columns of a table that a named tuple has as fields, in their order."""
    return [getattr(table, name) for name in row._fields]
