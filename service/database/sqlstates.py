"""The codes by which Postgres names its errors (PostgreSQL manual, appendix A)."""

from sqlalchemy.exc import DBAPIError


def sqlstate_of(error: DBAPIError) -> str | None:
    """The five characters by which Postgres names an error."""
    state: str | None = getattr(error.orig, "sqlstate", None)
    return state
