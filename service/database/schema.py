"""Checks that a process may run on the schema it finds. Needs nothing of Alembic, which takes long to import."""

import re
import sys
from functools import cache
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from service.database.engine import SERVICE_ROLE, Database, create_engine
from service.database.problems import DatabaseUnusable, problem_of
from service.database.sqlstates import sqlstate_of
from service.errors import SettingsError
from service.settings import Settings
from service.wakeups import Wakeups

CHECKOUT, INSTALLED = Path(__file__).resolve().parents[2], Path(sys.prefix, "share", "tunegate")
MIGRATIONS = (CHECKOUT if (CHECKOUT / "alembic.ini").is_file() else INSTALLED) / "alembic"
"""The folder of the migrations, beside `alembic.ini`."""

NO_SCHEMA_SQLSTATES = ("42P01", "42704", "22023", "42501")
"""Errors of a database that was never migrated: it lacks the tables, or the role that the first migration creates.

The role may be there, of another database of the same server, and not be granted (42501).
"""


class IncompatibleSchema(SettingsError):
    """This version may not run on the database's schema; the message says what to do."""


@cache
def head() -> str:
    """The revision that this version of the code needs at least: the highest number of a migration's file.

    Alembic would execute every migration to find it. Raises `IncompatibleSchema` for a file without a number.
    """
    numbers = [numbered(path.stem.partition("_")[0]) for path in MIGRATIONS.glob("versions/*.py")]
    if not numbers:
        raise RuntimeError("The folder alembic/versions is empty: the installation is damaged.")
    return max(numbers)


def numbered(revision: str) -> str:
    """The revision, which is a four-digit number: revisions are compared by it.

    Raises `IncompatibleSchema` for another one, such as plain `alembic revision` makes up.
    """
    if not re.fullmatch(r"[0-9]{4}", revision):
        raise IncompatibleSchema(
            f"The revision '{revision}' is not a four-digit number. Write migrations with `make migration NAME=add_x`, "
            "which numbers them; for one that exists already, change its `revision` and the name of its file."
        )
    return revision


def incompatibility(revision: str | None, *, compatible_from: int, needs: str) -> str | None:
    """Why code that knows revision `needs` may not run on a schema, or None if it may. Pure.

    A newer schema is fine, since migrations only add. A migration that removes something raises `compatible_from` to
    the first revision whose code works without it. Raises `IncompatibleSchema` for a revision that is not a number.
    """
    if revision is None:
        return "The database has no schema. Run `tunegate migrate` as its owner, then start again."
    if int(numbered(revision)) < int(numbered(needs)):
        return (
            f"The schema is at revision {revision}, and this version of Tunegate needs {needs}. "
            "Run `tunegate migrate` as its owner, then start again."
        )
    if compatible_from > int(needs):
        return (
            f"The schema, at revision {revision}, works only with versions of Tunegate that know revision "
            f"{compatible_from:04} or newer, and this one knows {needs}. Start a newer version."
        )
    return None


async def schema_problem(session: AsyncSession) -> str | None:
    """Why this process may not run on the schema it is connected to, or None if it may.

    Raises `IncompatibleSchema` for a revision that is not a number.
    """
    found = (
        await session.execute(
            text("SELECT (SELECT max(version_num) FROM alembic_version), (SELECT compatible_from FROM gateway)")
        )
    ).one()
    return incompatibility(found[0], compatible_from=found[1] or 0, needs=head())


async def check_schema(settings: Settings, *, application: str) -> str | None:
    """Raise `SettingsError` if this version may not run on the schema, or if the login or its privileges are wrong.

    A database that is unavailable for now is no reason: then this returns what is wrong, and otherwise None.
    """
    db = Database(create_engine(settings.database_url, pool_size=1, application=application), Wakeups(""))
    try:
        async with db.admin() as session:
            problem = await schema_problem(session)
    except DBAPIError as error:
        problem = await _missing(settings) if sqlstate_of(error) in NO_SCHEMA_SQLSTATES else None
        if problem is None:
            return _unavailable(error, settings)
    except OSError as error:
        return _unavailable(error, settings)
    finally:
        await db.close()
    if problem is not None:
        raise IncompatibleSchema(problem)
    return None


def _unavailable(error: DBAPIError | OSError, settings: Settings) -> str:
    unusable = problem_of(error, settings.database_url)
    if unusable is not None and unusable.lasting:
        raise DatabaseUnusable(unusable.text) from None
    return unusable.text if unusable else repr(error)


async def _missing(settings: Settings) -> str | None:
    """What a database lacks in which Tunegate's tables or its role are not found; None if the role is not granted."""
    engine = create_engine(settings.database_url, pool_size=1, role=None)
    try:
        async with engine.connect() as connection:
            migrated, ours, role = (await connection.execute(_FOUND, {"role": SERVICE_ROLE})).one()
    finally:
        await engine.dispose()
    if migrated and ours and role:
        return None
    if migrated and ours:
        return (
            f"The schema is here, but the role {SERVICE_ROLE} is not: a dump of a database has no roles. Restore them "
            "(pg_dumpall --roles-only), then the database."
        )
    if migrated:
        return (
            f"The database {engine.url.database} has the schema of another program. Give Tunegate a database of its "
            "own: CREATE DATABASE, set DATABASE_URL, then run `tunegate migrate`."
        )
    return incompatibility(None, compatible_from=0, needs=head())


_FOUND = text(
    "SELECT to_regclass('alembic_version') IS NOT NULL, to_regclass('gateway') IS NOT NULL,"
    " EXISTS (SELECT FROM pg_roles WHERE rolname = :role)"
)
