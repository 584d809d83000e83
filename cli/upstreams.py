"""Upstream accounts at the terminal."""

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console

from cli.client import Listing
from cli.errors import Refused
from cli.organization import View
from cli.output import Column, moment, print_fields, print_json, print_table, printable, status
from cli.paths import path_of

COLUMNS = (
    Column("id", whole=True),
    Column("name", fold=True),
    Column("kind"),
    Column("of"),
    Column("state"),
    Column("until"),
    Column("jobs", "right"),
    Column("models", fold=True),
)


def list_upstreams(view: View) -> Listing:
    """The accounts that a project may use, or all of them. Raises `Refused`."""
    if view.own:
        return view.client.list(view.path("upstreams"))
    found = view.client.list(view.path("upstreams"))
    if view.project is None:
        return found
    owners = (None, view.project["id"])
    return Listing([account for account in found.data if account["project_id"] in owners])


def find_upstream(view: View, account: str) -> dict[str, Any]:
    """The account with this id or name. Raises `Refused`."""
    listed = list_upstreams(view).data
    found = [each for each in listed if each["id"] == account] or [each for each in listed if each["name"] == account]
    if not found:
        raise Refused(f"No upstream account is called {account!r}. `tunegate upstreams list` lists them.")
    if len(found) > 1:
        ids = ", ".join(each["id"] for each in found)
        raise Refused(f"{len(found)} upstream accounts are called {account!r}. Give the id of one: {ids}.")
    return found[0]


def change_upstream(view: View, account: str, body: Mapping[str, Any], what: str, *, as_json: bool) -> None:
    """Change an account and print the result. Raises `Refused`."""
    found = find_upstream(view, account)
    if view.own and found["shared"]:
        raise Refused(f"{found['name']} is a shared account. Only an administrator changes it: --organization.")
    changed = view.client.post(account_path(view, found["id"]), body)
    if as_json:
        print_json(changed)
    else:
        print(f"{printable(changed['name'])} {what}.")


def account_path(view: View, *parts: str) -> str:
    """The path of accounts that the view may change, or of one. Raises `Refused` for those of another project."""
    if view.own:
        return path_of("upstreams", *parts)
    if view.project is not None and not parts:
        raise Refused("Only a project's key adds an account of a project. --organization adds a shared one.")
    return path_of("organization", "upstreams", *parts)


def read_credential(variable: str | None) -> str:
    """A credential from an environment variable, or else from standard input. Raises `Refused`."""
    if variable is not None:
        value = os.environ.get(variable, "")
        missing = f"The environment variable {variable} is empty."
    elif sys.stdin.isatty():
        from getpass import getpass

        value, missing = getpass("Credential: "), "No credential was given."
    else:
        value = sys.stdin.readline()
        missing = "Standard input has no credential. Write it there, or name a variable with --credential-variable."
    if not value.strip():
        raise Refused(missing)
    return value.strip()


def show_upstreams(accounts: Sequence[Mapping[str, Any]], console: Console) -> None:
    """Print accounts as a table."""
    rows = [
        (
            each["id"],
            each["name"],
            each["kind"],
            _owner(each),
            status(_state(each)),
            moment(_available_at(each)),
            _slots(each),
            ", ".join(each["models"] or ["all"]),
        )
        for each in accounts
    ]
    print_table(COLUMNS, rows, console, empty="There are no upstream accounts.")


def show_upstream(account: Mapping[str, Any], console: Console) -> None:
    """Print an account: of one that a project only uses, what it may know."""
    health, state = account.get("health") or {}, _state(account)
    reason = health.get("held_reason") or (health.get("last_error") if state == "failing" else None)
    print_fields(
        [
            ("id", account["id"]),
            ("name", account["name"]),
            ("kind", account["kind"]),
            ("provider", account["provider"]),
            ("of", _owner(account)),
            ("address", account.get("base_url")),
            ("state", status(state)),
            ("until", moment(_available_at(account))),
            ("reason", reason),
            ("jobs", _slots(account)),
            ("models", ", ".join(account["models"] or ["all"])),
            ("methods", ", ".join(account["methods"] or ["all that it can"])),
            ("credential set", moment(account.get("credential_set_at"))),
        ],
        console,
    )


def _owner(account: Mapping[str, Any]) -> str:
    if "shared" in account:
        return "shared" if account["shared"] else "the project"
    return str(account["project_id"] or "shared")


def _state(account: Mapping[str, Any]) -> str:
    if "state" in account:
        return str(account["state"])
    if account["drained"]:
        return "drained"
    if account["health"]["held_until"] is not None:
        return "cooling_down"
    return "failing" if account["health"]["status"] == "failing" else "ready"


def _available_at(account: Mapping[str, Any]) -> int | None:
    value: int | None = account["health"]["held_until"] if "health" in account else account["available_at"]
    return value


def _slots(account: Mapping[str, Any]) -> str | None:
    return f"{account['active_jobs']} of {account['max_active_jobs']}" if "active_jobs" in account else None
