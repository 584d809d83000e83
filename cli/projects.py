"""Projects at the terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console

from cli.output import Column, moment, print_fields, print_table, status

COLUMNS = (Column("id", whole=True), Column("name", fold=True), Column("status"), Column("created"))


def show_projects(projects: Sequence[Mapping[str, Any]], console: Console) -> None:
    """Print projects as a table."""
    rows = [(each["id"], each["name"], status(each["status"]), moment(each["created_at"])) for each in projects]
    print_table(COLUMNS, rows, console, empty="The organisation has no projects.")


def show_project(project: Mapping[str, Any], console: Console) -> None:
    """Print a project, and the key that called if it is the key's own project."""
    key = project.get("api_key") or {}
    owner = (key.get("owner") or {}).get("service_account") or {}
    print_fields(
        [
            ("id", project["id"]),
            ("name", project["name"]),
            ("status", status(project["status"])),
            ("created", moment(project["created_at"])),
            ("archived", moment(project["archived_at"])),
            ("key", key.get("name")),
            ("key of", owner.get("name")),
            ("key may", "read only" if key.get("scopes") else None),
            ("key ends", moment(key.get("expires_at"))),
        ],
        console,
    )
