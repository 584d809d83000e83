"""How Postgres executes what a function of the service sends: the plans, and the pages that they touch."""

import json
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass
from typing import Any

from sqlalchemy import event

from service.database.engine import Database
from service.database.reads import Reader

Scope = Callable[[], AbstractAsyncContextManager[Any]]
"""Opens a transaction: `Database.project`, `read` or `worker`, with their arguments."""

Query = Callable[[Any], Awaitable[object]]
"""What runs in it, with the session or the reader."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A statement, and the root of its executed plan as Postgres reports it in JSON."""

    statement: str
    root: Any

    @property
    def buffers(self) -> int:
        """The pages that it touched, in memory or on disk."""
        return _buffers(self.root)

    @property
    def reads(self) -> set[str]:
        """The indexes that it used, and the tables that it read as a whole."""
        return {node.get("Index Name") or node["Relation Name"] for node in self._nodes(self.root) if _is_read(node)}

    def __str__(self) -> str:
        lines = [f"-- {' '.join(self.statement.split())[:300]}"]
        for node in self._nodes(self.root):
            of = node.get("Index Name") or node.get("Relation Name") or ""
            rows = f"{node['Actual Rows']:g} rows x {node['Actual Loops']:g}"
            lines.append(f"{node['Node Type']} {of}: {rows}, {_buffers(node)} pages")
        return "\n".join(lines)

    def _nodes(self, node: Any) -> Iterator[Any]:
        yield node
        for each in node.get("Plans", []):
            yield from self._nodes(each)


class _RolledBack(Exception):
    """Ends a transaction without a commit."""


async def rolled_back(scope: Scope, query: Query) -> None:
    """Run a function in a transaction, and roll it back."""
    with suppress(_RolledBack):
        async with scope() as transaction:
            await query(transaction)
            raise _RolledBack


async def plans_of(db: Database, scope: Scope, query: Query, *, generic: bool = False) -> list[Plan]:
    """The plans of the statements that a function sends in a transaction of a scope. Nothing is committed.

    `generic`: the plans that ignore the parameters' values, which Postgres may use for a statement that a connection
    has prepared; parameters are then strings, numbers and bytes.
    """
    sent: list[tuple[str, Sequence[Any]]] = []
    found: list[Plan] = []

    def record(connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool) -> None:
        sent.extend((statement, each) for each in (parameters if many else [parameters]))

    async def recorded(transaction: Any) -> None:
        if isinstance(transaction, Reader):
            driver = await _driver(transaction)
            with driver.query_logger(lambda logged: sent.append((logged.query, logged.args))):
                await query(transaction)
        else:
            await query(transaction)

    async def explained(transaction: Any) -> None:
        driver = await _driver(transaction)
        for number, (statement, parameters) in enumerate(sent):
            if generic:
                await driver.execute(
                    f"SET LOCAL plan_cache_mode = force_generic_plan; PREPARE p{number} AS {statement}"
                )
                values = f"({', '.join(map(_literal, parameters))})" if parameters else ""
                plan = await driver.fetchval(f"{EXPLAIN} EXECUTE p{number}{values}")
                await driver.execute(f"DEALLOCATE p{number}")
            else:
                plan = await driver.fetchval(f"{EXPLAIN} {statement}", *parameters)
            found.append(Plan(statement, (json.loads(plan) if isinstance(plan, str) else plan)[0]["Plan"]))

    event.listen(db.engine.sync_engine, "before_cursor_execute", record)
    try:
        await rolled_back(scope, recorded)
    finally:
        event.remove(db.engine.sync_engine, "before_cursor_execute", record)
    await rolled_back(scope, explained)
    return found


EXPLAIN = "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON)"


async def _driver(transaction: Any) -> Any:
    if isinstance(transaction, Reader):
        return transaction._driver
    return (await (await transaction.connection()).get_raw_connection()).driver_connection


def _literal(value: Any) -> str:
    if isinstance(value, bytes):
        return f"'\\x{value.hex()}'"
    return "NULL" if value is None else "'" + str(value).replace("'", "''") + "'"


def _buffers(node: Any) -> int:
    return int(node["Shared Hit Blocks"] + node["Shared Read Blocks"])


def _is_read(node: Any) -> bool:
    return "Index Name" in node or node["Node Type"] == "Seq Scan"
