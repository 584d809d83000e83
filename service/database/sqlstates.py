"""SQLSTATEs: Postgres' error codes (PostgreSQL manual, appendix A)."""

from sqlalchemy.exc import DBAPIError

FAULTS_OF_A_VALUE = ("22", "23")
"""SQLSTATE classes: data exception, integrity constraint violation."""


def sqlstate_of(error: DBAPIError) -> str | None:
    """The five-character SQLSTATE of an error, or None if it did not come from Postgres."""
    state: str | None = getattr(error.orig, "sqlstate", None)
    return state


def is_fault_of_a_value(error: Exception) -> bool:
    """Whether Postgres, or its driver, refused a value that was written: bad data, or a constraint.

    By the SQLSTATE, since SQLAlchemy has no class of its own for what asyncpg calls a `DataError`.
    """
    return isinstance(error, DBAPIError) and (sqlstate_of(error) or "").startswith(FAULTS_OF_A_VALUE)
