"""`python -m cli.new_migration add_widgets`: writes the next migration. `make migration NAME=add_widgets` runs it.

It compares the tables in the code with a database that has every earlier migration, on its own embedded PostgreSQL.
"""

import asyncio
import secrets
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event

from cli.embedded import OWNER, SERVICE, SUPERUSER, Postgres, free_port
from cli.supervisor import Supervisor
from service.database.migrations import upgrade, write_migration
from service.database.schema import MIGRATIONS
from service.settings import Settings

START_SECONDS = 60.0


def main() -> int:
    """Write the migration that the first argument names, and print its path. The exit status."""
    if len(sys.argv) != 2 or not sys.argv[1]:
        print("Name the migration: make migration NAME=add_widgets", file=sys.stderr)
        return 2
    try:
        with migrated_database() as url:
            path = write_migration(sys.argv[1], url=url)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"Wrote {path.relative_to(MIGRATIONS.parent)}. Read it: what autogenerate finds is a draft.")
    return 0


@contextmanager
def migrated_database() -> Iterator[str]:
    """The owner's URL of a new database with every migration, which is gone at the end."""
    supervisor = Supervisor(on_change=lambda: None, say=lambda _: None, interrupt=Event(), hurry=Event())
    with tempfile.TemporaryDirectory(prefix="tunegate-migration-") as name:
        postgres = Postgres(
            folder=Path(name) / "postgres",
            port=free_port(),
            passwords={login: secrets.token_urlsafe(12) for login in (SUPERUSER, OWNER, SERVICE)},
            durable=False,
        )
        try:
            postgres.prepare()
            supervisor.start(postgres.program(Path(name) / "postgres.log"))
            supervisor.wait_ready("postgres", timeout_seconds=START_SECONDS)
            asyncio.run(postgres.create_logins())
            url = postgres.url(OWNER)
            upgrade(Settings(database_url=url, owner_database_url=url))
            yield url
        finally:
            supervisor.stop(["postgres"])


if __name__ == "__main__":
    sys.exit(main())
