"""Migrates the schema and writes new migrations, by Alembic."""

import re
from pathlib import Path

from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError

from alembic import command
from service.database.problems import check_url, in_words
from service.database.schema import MIGRATIONS, IncompatibleSchema, numbered
from service.settings import Settings


def config(url: str, *, folder: Path = MIGRATIONS) -> Config:
    """Alembic's configuration for the database at `url`, with the migrations in `folder`."""
    made = Config(str(MIGRATIONS.with_name("alembic.ini")))
    made.set_main_option("script_location", str(folder))
    made.attributes["url"] = url
    return made


def upgrade(settings: Settings) -> None:
    """Bring the schema to this version's head, as its owner. Safe to run in several processes at once.

    Raises `DatabaseUnusable` and `IncompatibleSchema` in words.
    """
    url = settings.migration_url
    check_url(url, variable="TUNEGATE_OWNER_DATABASE_URL" if settings.owner_database_url else "DATABASE_URL")
    try:
        with in_words(url):
            command.upgrade(config(url), "head")
    except CommandError as error:
        raise IncompatibleSchema(
            f"The database's schema is not one of this version ({error}). Of a newer version of Tunegate: run that "
            "version's `tunegate migrate`. Of another program: give Tunegate a database of its own."
        ) from None


def write_migration(name: str, *, url: str, folder: Path = MIGRATIONS) -> Path:
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
