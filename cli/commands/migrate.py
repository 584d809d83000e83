"""`tunegate migrate`: migrates the database's schema."""

import os

from service.settings import Settings


def migrate() -> None:
    """Bring the database's schema up to date.

    It connects as the schema's owner: TUNEGATE_OWNER_DATABASE_URL, else DATABASE_URL.
    """
    from service.database.migrations import upgrade
    from service.database.schema import head

    upgrade(Settings.from_env(os.environ))
    print(f"The schema is at revision {head()}.")
