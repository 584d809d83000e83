"""Writing the next migration, and refusing one without a number."""

import asyncio
import shutil
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory

from alembic import command
from cli.embedded import OWNER, execute
from service.database.migrations import config, write_migration
from service.database.schema import MIGRATIONS, IncompatibleSchema, head, incompatibility, numbered
from tests.stack import Servers


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the migrations, to add to."""
    return Path(shutil.copytree(MIGRATIONS, tmp_path / "alembic", ignore=shutil.ignore_patterns("__pycache__")))


def test_the_next_migration_is_numbered_follows_the_head_and_holds_the_difference(
    servers: Servers, folder: Path
) -> None:
    number = f"{int(head()) + 1:04}"
    with servers.fresh_database() as name:
        url = servers.postgres.url(OWNER, name)
        asyncio.run(execute(url, "ALTER TABLE projects DROP COLUMN retention_days"))
        path = write_migration("add_retention", url=url, folder=folder)
        assert path.name == f"{number}_add_retention.py"
        scripts = ScriptDirectory.from_config(config(url, folder=folder))
        made = scripts.get_revision(number)
        assert (scripts.get_current_head(), made.down_revision) == (number, head())
        assert made.doc == "Add retention."
        assert (
            'op.add_column("projects", sa.Column("retention_days", sa.BigInteger(), nullable=True))' in path.read_text()
        )
        command.upgrade(config(url, folder=folder), "head")
        assert asyncio.run(execute(url, "SELECT version_num FROM alembic_version")) == number


def test_the_head_by_the_files_numbers_is_that_of_the_chain() -> None:
    scripts = ScriptDirectory.from_config(config(""))
    assert head() == scripts.get_current_head()
    for script in scripts.walk_revisions():
        assert Path(script.path).stem.partition("_")[0] == script.revision


@pytest.mark.parametrize("name", ["", "Add", "add-x", "0add", "../x"])
def test_a_name_that_makes_no_module_is_refused(folder: Path, name: str) -> None:
    with pytest.raises(ValueError, match="lower-case letters"):
        write_migration(name, url="", folder=folder)


@pytest.mark.parametrize("revision", ["1ba3d2c", "17", "00017", "", "0017\n"])
def test_a_revision_that_is_no_number_is_refused_in_words(revision: str) -> None:
    with pytest.raises(IncompatibleSchema, match="make migration NAME"):
        numbered(revision)
    with pytest.raises(IncompatibleSchema, match="make migration NAME"):
        incompatibility(revision, compatible_from=1, needs="0016")
