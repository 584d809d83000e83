"""`tunegate keys`: makes, lists and revokes API keys, makes master keys, and re-encrypts secrets.

With an admin key it calls a gateway; beside the gateway it needs only the database, so it makes the first keys too.
"""

import os

from cyclopts import App, Group

from cli.connection import Connection
from cli.options import AsJson, Flag
from cli.organization import ProjectName
from service.errors import SettingsError
from service.settings import Settings

keys = App(name="keys", help="Make, list and revoke API keys; make master keys.")
BY_API = Group("By a gateway's API, with an admin key", sort_key=0)
BY_DATABASE = Group("Beside the gateway, with its DATABASE_URL and without any key", sort_key=1)


@keys.command(name="list", group=BY_API)
def list_keys(*, project: ProjectName, as_json: AsJson = False, connection: Connection = Connection()) -> None:
    """List a project's keys, without their values.

    Parameters
    ----------
    project
        The name or id of the project.
    as_json
        Print nothing but the list as JSON.
    """
    from cli.keys import show_keys
    from cli.organization import find_project, project_path
    from cli.output import console, print_json

    with connection.admin_client() as client:
        found = client.list(project_path(find_project(client, project), "api_keys"))
    if as_json:
        print_json(found.as_object())
    else:
        show_keys(found.data, console())


@keys.command(group=BY_API)
def create(
    name: str,
    /,
    *,
    project: ProjectName,
    read_only: Flag = False,
    expires: str | None = None,
    as_json: AsJson = False,
    connection: Connection = Connection(),
) -> None:
    """Create a service account with a key, and print the key.

    It is shown only once.

    Parameters
    ----------
    name
        The name of the service account and its key.
    project
        The name or id of the project.
    read_only
        Allow reading only.
    expires
        How long the key works, such as 24h, 90d or 52w. Default: until it is revoked.
    as_json
        Print nothing but the key as JSON.
    """
    from cli.keys import create_key
    from cli.organization import find_project
    from cli.output import print_json

    with connection.admin_client() as client:
        found = find_project(client, project)
        created = create_key(client, found, name, read_only=read_only, expires=expires)
    if as_json:
        print_json(created)
    else:
        print(created["value"])


@keys.command(group=BY_API)
def revoke(
    key: str,
    /,
    *,
    project: ProjectName,
    yes: Flag = False,
    as_json: AsJson = False,
    connection: Connection = Connection(),
) -> None:
    """Revoke a project's key. It stops working within a second.

    Parameters
    ----------
    key
        The id of the key, from `tunegate keys list`.
    project
        The name or id of the project.
    yes
        Revoke it without confirmation.
    as_json
        Print nothing but the API's response as JSON.
    """
    from cli.confirmation import confirm
    from cli.organization import find_project, project_path
    from cli.output import print_json, printable

    with connection.admin_client() as client:
        path = project_path(find_project(client, project), "api_keys", key)
        if not yes:
            confirm(f"Revoke {printable(client.get(path)['name'])} ({key})?", yes=False)
        revoked = client.delete(path)
    if as_json:
        print_json(revoked)
    else:
        print(f"{revoked['id']} is revoked.")


@keys.command(group=BY_DATABASE)
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
    from cli.database import on_schema
    from service.identity.bootstrap import create_key
    from service.identity.callers import READ_ONLY

    scopes = [READ_ONLY] if read_only else []
    settings = Settings.from_env(os.environ)
    print(on_schema(settings, lambda: create_key(settings, kind="project", name=name, project=project, scopes=scopes)))


@keys.command(group=BY_DATABASE)
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
    from cli.database import on_schema
    from service.identity.bootstrap import create_key
    from service.identity.callers import READ_ONLY

    scopes = [READ_ONLY] if read_only else []
    settings = Settings.from_env(os.environ)
    print(on_schema(settings, lambda: create_key(settings, kind="admin", name=name, scopes=scopes)))


@keys.command(group=BY_DATABASE)
def master() -> None:
    """Print a new TUNEGATE_MASTER_KEY.

    It encrypts webhook secrets and upstream credentials at rest.
    """
    from cli.credentials import new_master_key

    print(new_master_key())


@keys.command(group=BY_DATABASE)
def reseal() -> None:
    """Encrypt every stored secret under the current master key.

    It concerns secrets that are still under one of TUNEGATE_OLD_MASTER_KEYS.
    """
    from cli.database import on_schema
    from service.database.encryption import DecryptionFailed, sealer_of
    from service.database.engine import Database, create_engine
    from service.key_rotation import reseal as reseal_all
    from service.wakeups import Wakeups

    settings = Settings.from_env(os.environ)
    sealer = sealer_of(settings)

    async def run() -> int:
        db = Database(create_engine(settings.database_url, pool_size=1), Wakeups(""))
        try:
            return await reseal_all(db, sealer)
        except DecryptionFailed as error:
            raise SettingsError(str(error)) from None
        finally:
            await db.close()

    count = on_schema(settings, run)
    print(f"{count} secrets were re-encrypted. Once every process runs with the new key, remove the old one.")
