"""Keys of a project by the organisation's API, at the terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console

from cli.audit_log import seconds_of
from cli.client import Client
from cli.errors import Refused
from cli.organization import project_path
from cli.output import Column, moment, print_table
from service.identity.callers import READ_ONLY

COLUMNS = (
    Column("id", fold=True),
    Column("name", fold=True),
    Column("of", fold=True),
    Column("may"),
    Column("last used"),
    Column("ends"),
    Column("key"),
)


def create_key(
    client: Client, project: Mapping[str, Any], name: str, *, read_only: bool, expires: str | None
) -> dict[str, Any]:
    """A new service account with a key, whose value is shown once. Raises `Refused`.

    A read-only key gets its scope after it is made and before anybody has it; if that fails, it is deleted.
    """
    lifetime = None if expires is None else seconds_of(expires)
    body = {"name": name, "expires_in_seconds": lifetime}
    created = client.post(project_path(dict(project), "service_accounts"), body)
    if read_only:
        key = created["api_key"]
        try:
            client.post(project_path(dict(project), "api_keys", key["id"]), {"scopes": [READ_ONLY]})
        except Refused:
            client.delete(project_path(dict(project), "service_accounts", created["id"]))
            raise
        key["scopes"] = [READ_ONLY]
    return created


def show_keys(keys: Sequence[Mapping[str, Any]], console: Console) -> None:
    """Print keys as a table, without their values."""
    rows = [
        (
            each["id"],
            each["name"],
            (each["owner"]["service_account"] or {}).get("name"),
            "read only" if each["scopes"] else "read, write",
            moment(each["last_used_at"]),
            moment(each["expires_at"]),
            each["redacted_value"],
        )
        for each in keys
    ]
    print_table(COLUMNS, rows, console, empty="The project has no keys.")
