"""Migrates the schema and writes new migrations, by Alembic."""

import re
from pathlib import Path

from alembic.config import Config
from alembic.script import ScriptDirectory

from alembic import command
from service.database.schema import MIGRATIONS, numbered
from service.settings import Settings


def config(url: str, *, folder: Path = MIGRATIONS) -> Config:
    """Alembic's configuration for the database at `url`, with the migrations in `folder`."""
    made = Config(str(MIGRATIONS.with_name("alembic.ini")))
    made.set_main_option("script_location", str(folder))
    made.attributes["url"] = url
    return made


def upgrade(settings: Settings) -> None:
    """Bring the schema to this version's head, as its owner. Safe to run in several processes at once."""
    command.upgrade(config(settings.migration_url), "head")


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
