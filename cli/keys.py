"""Keys of a project by the organisation's API, at the terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console

from cli.audit_log import seconds_of
from cli.client import Client
from cli.organization import project_path
from cli.output import Column, moment, print_table
from service.identity.callers import READ_ONLY

COLUMNS = (
    Column("id", whole=True),
    Column("name", fold=True),
    Column("of", fold=True),
    Column("may"),
    Column("last used"),
    Column("ends"),
)


def create_key(
    client: Client, project: dict[str, Any], name: str, *, read_only: bool, expires: str | None
) -> dict[str, Any]:
    """A new key of a new service account, with its value, which is shown once. Raises `Refused`.

    A service account's first key may do everything, so that of a read-only one is made by a call of its own.
    """
    accounts = project_path(project, "service_accounts")
    lifetime = {} if expires is None else {"expires_in_seconds": seconds_of(expires)}
    if not read_only:
        key: dict[str, Any] = client.post(accounts, {"name": name, **lifetime})["api_key"]
        return key
    account = client.post(accounts, {"name": name, "create_service_account_only": True})["id"]
    of_account = project_path(project, "service_accounts", account)
    client.post(of_account, {"role": "member"})
    return client.post(f"{of_account}/api_keys", {"name": name, "scopes": [READ_ONLY], **lifetime})


def show_keys(keys: Sequence[Mapping[str, Any]], console: Console) -> None:
    """Print keys as a table, without their values."""
    rows = [
        (
            each["id"],
            each["name"],
            _owner(each),
            "read" if each["scopes"] else "all",
            moment(each["last_used_at"]),
            moment(each["expires_at"]),
        )
        for each in keys
    ]
    print_table(COLUMNS, rows, console, empty="The project has no keys.")


def _owner(key: Mapping[str, Any]) -> str | None:
    """The service account of a key that is not called like it."""
    account = key["owner"]["service_account"]
    return None if account is None or account["name"] == key["name"] else str(account["name"])
