"""Statements that SQLAlchemy compiles once for all engines of a test process, and not once for each test's engine.

A service has one engine, whose cache of compiled statements is warm after its first minute. Nearly every test has an
engine of its own, for a database of its own, and would spend a third of its time on compiling.
"""

from typing import Any

from sqlalchemy import Engine
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg
from sqlalchemy.util import LRUCache

_compiled: LRUCache[Any, Any] = LRUCache(2000)


class SharingDialect(PGDialect_asyncpg):
    """asyncpg's dialect, of which all instances are equal: it is a part of the key of a compiled statement."""

    supports_statement_cache = True

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self)

    def __hash__(self) -> int:
        return hash(type(self))

    @classmethod
    def engine_created(cls, engine: Engine) -> None:
        """Give a new engine the common cache."""
        engine.update_execution_options(compiled_cache=_compiled)


def share() -> None:
    """Use this dialect for every engine that this process creates."""
    registry.register("postgresql.asyncpg", SharingDialect.__module__, SharingDialect.__name__)
