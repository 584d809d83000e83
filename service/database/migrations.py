"""Bringing the schema up to date, and knowing whether a process may run on the schema it finds."""

from functools import cache
from pathlib import Path

from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from alembic import command
from service.database.engine import Database, create_engine
from service.database.sqlstates import sqlstate_of
from service.errors import SettingsError
from service.settings import Settings
from service.wakeups import Wakeups

ROOT = Path(__file__).resolve().parents[2]

NO_SCHEMA = ("42P01", "42704", "22023")
"""SQLSTATEs of a database that was never migrated: no such table, or our role, which the first migration makes."""


class SchemaUnfit(SettingsError):
    """The database's schema is not one that this version may run on; the message has the command that mends it."""


def config(url: str) -> Config:
    """Alembic's configuration for the database at `url`."""
    made = Config(str(ROOT / "alembic.ini"))
    made.attributes["url"] = url
    return made


def upgrade(settings: Settings) -> None:
    """Bring the schema to this version's head, as its owner. Safe to run from several places at once."""
    command.upgrade(config(settings.migration_url), "head")


@cache
def head() -> str:
    """The revision that this version of the code needs at least."""
    revision = ScriptDirectory.from_config(config("")).get_current_head()
    if revision is None:
        raise RuntimeError("The folder alembic/versions is empty: the installation is damaged.")
    return revision


def unfit(revision: str | None, *, compatible_from: int, needs: str) -> str | None:
    """Why code that knows revision `needs` may not run on a schema, or None. Pure.

    A newer schema is fine, since migrations only add; one that takes something away raises `compatible_from` to the
    first revision whose code can work with what is left.
    """
    if revision is None:
        return "The database has no schema. Run `tunegate migrate` as its owner, then start again."
    if int(revision) < int(needs):
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


async def schema_fault(session: AsyncSession) -> str | None:
    """Why this process may not run on the schema it is connected to, or None."""
    found = (
        await session.execute(
            text("SELECT (SELECT max(version_num) FROM alembic_version), (SELECT compatible_from FROM gateway)")
        )
    ).one()
    return unfit(found[0], compatible_from=found[1] or 0, needs=head())


async def refuse_unfit(settings: Settings, *, application: str) -> None:
    """Raise `SchemaUnfit` if the schema is not one to run on. A database that is away decides nothing here."""
    db = Database(create_engine(settings.database_url, pool_size=1, application=application), Wakeups(""))
    try:
        async with db.admin() as session:
            fault = await schema_fault(session)
    except DBAPIError as error:
        if sqlstate_of(error) not in NO_SCHEMA:
            return
        fault = unfit(None, compatible_from=0, needs=head())
    except OSError:
        return
    finally:
        await db.close()
    if fault is not None:
        raise SchemaUnfit(fault)
