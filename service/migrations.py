"""Bringing the schema up to date, and knowing whether a process may run on the schema it finds."""

from pathlib import Path

from alembic.config import Config
from alembic.script import ScriptDirectory

from alembic import command
from service.settings import Settings

ROOT = Path(__file__).resolve().parent.parent


def config(url: str) -> Config:
    """Alembic's configuration for the database at `url`."""
    made = Config(str(ROOT / "alembic.ini"))
    made.attributes["url"] = url
    return made


def upgrade(settings: Settings) -> None:
    """Bring the schema to this version's head, as its owner. Safe to run from several places at once."""
    command.upgrade(config(settings.migration_url), "head")


def head() -> str:
    """The revision that this version of the code needs at least."""
    revision = ScriptDirectory.from_config(config("")).get_current_head()
    if revision is None:
        raise RuntimeError("The folder alembic/versions is empty: the installation is damaged.")
    return revision
