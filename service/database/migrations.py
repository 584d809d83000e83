"""Migrates the schema, writes new migrations, and checks that a process may run on the schema it finds."""

import re
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

NO_SCHEMA_SQLSTATES = ("42P01", "42704", "22023")
"""Errors of a database that was never migrated: it lacks the tables, or the role that the first migration creates."""


class IncompatibleSchema(SettingsError):
    """This version may not run on the database's schema; the message says what to do."""


def config(url: str, *, folder: Path = ROOT / "alembic") -> Config:
    """Alembic's configuration for the database at `url`, with the migrations in `folder`."""
    made = Config(str(ROOT / "alembic.ini"))
    made.set_main_option("script_location", str(folder))
    made.attributes["url"] = url
    return made


def upgrade(settings: Settings) -> None:
    """Bring the schema to this version's head, as its owner. Safe to run in several processes at once."""
    command.upgrade(config(settings.migration_url), "head")


def write_migration(name: str, *, url: str, folder: Path = ROOT / "alembic") -> Path:
    """Write the next migration, such as `0017_<name>.py`: the difference between the tables in the code and a database.

    `url` is of a database that has every earlier migration. Raises `ValueError` for a name that is not `like_this`.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise ValueError(f"The name '{name}' is not of lower-case letters, digits and underscores, as in add_widgets.")
    scripts = ScriptDirectory.from_config(config(url, folder=folder))
    number = f"{int(numbered(scripts.get_current_head() or '0000')) + 1:04}"
    sentence = name.replace("_", " ").capitalize() + "."
    command.revision(config(url, folder=folder), message=sentence, autogenerate=True, rev_id=number)
    return folder / "versions" / f"{number}_{name}.py"


@cache
def head() -> str:
    """The revision that this version of the code needs at least. Raises `IncompatibleSchema` if it is not a number."""
    revision = ScriptDirectory.from_config(config("")).get_current_head()
    if revision is None:
        raise RuntimeError("The folder alembic/versions is empty: the installation is damaged.")
    return numbered(revision)


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


async def check_schema(settings: Settings, *, application: str) -> None:
    """Raise `IncompatibleSchema` if this version may not run on the schema. An unavailable database is no reason."""
    db = Database(create_engine(settings.database_url, pool_size=1, application=application), Wakeups(""))
    try:
        async with db.admin() as session:
            problem = await schema_problem(session)
    except DBAPIError as error:
        if sqlstate_of(error) not in NO_SCHEMA_SQLSTATES:
            return
        problem = incompatibility(None, compatible_from=0, needs=head())
    except OSError:
        return
    finally:
        await db.close()
    if problem is not None:
        raise IncompatibleSchema(problem)
