"""`tunegate keys`: makes API keys and master keys, and re-encrypts secrets."""

import os

from cyclopts import App

from cli.options import Flag
from service.settings import Settings

keys = App(name="keys", help="Make API keys and master keys.")


@keys.command
def project(name: str, /, *, project: str = "default", read_only: Flag = False) -> None:
    """Make a key for a project's resources and print it.

    It is shown only once.

    Parameters
    ----------
    name
        The name of the key in lists.
    project
        The name or id of the project.
    read_only
        Allow reading only.
    """
    import asyncio

    from service.identity.bootstrap import create_key
    from service.identity.callers import READ_ONLY

    scopes = [READ_ONLY] if read_only else []
    settings = Settings.from_env(os.environ)
    print(asyncio.run(create_key(settings, kind="project", name=name, project=project, scopes=scopes)))


@keys.command
def admin(name: str, /, *, read_only: Flag = False) -> None:
    """Make a key for the organisation's API and print it.

    It is shown only once.

    Parameters
    ----------
    name
        The name of the key in lists.
    read_only
        Allow reading only.
    """
    import asyncio

    from service.identity.bootstrap import create_key
    from service.identity.callers import READ_ONLY

    scopes = [READ_ONLY] if read_only else []
    print(asyncio.run(create_key(Settings.from_env(os.environ), kind="admin", name=name, scopes=scopes)))


@keys.command
def master() -> None:
    """Print a new TUNEGATE_MASTER_KEY.

    It encrypts webhook secrets and upstream credentials at rest.
    """
    from cli.credentials import new_master_key

    print(new_master_key())


@keys.command
def reseal() -> None:
    """Encrypt every stored secret under the current master key.

    It concerns secrets that are still under one of TUNEGATE_OLD_MASTER_KEYS.
    """
    import asyncio

    from service.database.encryption import sealer_of
    from service.database.engine import Database, create_engine
    from service.key_rotation import reseal as reseal_all
    from service.wakeups import Wakeups

    settings = Settings.from_env(os.environ)

    async def run() -> int:
        db = Database(create_engine(settings.database_url, pool_size=1), Wakeups(""))
        try:
            return await reseal_all(db, sealer_of(settings))
        finally:
            await db.close()

    print(
        f"{asyncio.run(run())} secrets were re-encrypted. Once every process runs with the new key, remove the old one."
    )
