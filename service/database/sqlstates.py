"""SQLSTATEs: Postgres' error codes (PostgreSQL manual, appendix A)."""

from sqlalchemy.exc import DBAPIError


def sqlstate_of(error: DBAPIError) -> str | None:
    """The five-character SQLSTATE of an error, or None if it did not come from Postgres."""
    state: str | None = getattr(error.orig, "sqlstate", None)
    return state
