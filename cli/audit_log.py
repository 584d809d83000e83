"""The audit log at the terminal."""

import re
import time
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console

from cli.client import Listing
from cli.errors import Refused
from cli.organization import View
from cli.output import Column, moment, print_table
from service.billing.buckets import length_of

COLUMNS = (
    Column("time", whole=True),
    Column("event", whole=True),
    Column("what", fold=True),
    Column("by", fold=True),
    Column("from", spare=True),
)


def read_entries(view: View, *, since: str | None, events: Sequence[str], limit: int) -> Listing:
    """The newest entries. Raises `Refused`."""
    start = None if since is None else int(time.time()) - seconds_of(since)
    query = {"event_types[]": list(events) or None, "effective_at[gte]": start}
    return view.client.list(view.path("audit_logs"), limit=limit, **query, **view.filters())


def seconds_of(since: str) -> int:
    """The seconds of a length of time such as `24h`. Raises `Refused` for another form."""
    if not re.fullmatch(r"[1-9][0-9]{0,3}[mhdw]", since):
        raise Refused(f"{since!r} is no length of time. Give minutes, hours, days or weeks, such as 90m, 24h or 7d.")
    return length_of(since)


def show_entries(entries: Sequence[Mapping[str, Any]], console: Console, *, with_project: bool) -> None:
    """Print entries as a table, each with the names at its time."""
    columns, rows = list(COLUMNS), [_row(entry) for entry in entries]
    if with_project:
        columns.append(Column("project", fold=True))
        rows = [(*row, _named(entry["project"])) for row, entry in zip(rows, entries, strict=True)]
    print_table(columns, rows, console, empty="There are no such entries.")


def _row(entry: Mapping[str, Any]) -> tuple[str | None, ...]:
    event = str(entry["type"])
    detail = entry.get(event) or {}
    if event == "resource.deleted":
        event = f"{detail.get('resource_type', 'resource')}.deleted"
    elif event == "login.failed":
        event = f"{event} ({detail.get('reason')}, {detail.get('count', 1)}x)"
    actor = entry["actor"]
    session = (actor or {}).get("session") or {}
    return moment(entry["effective_at"]), event, _named(entry["resource"]), _who(actor), session.get("ip_address")


def _who(actor: Mapping[str, Any] | None) -> str:
    if actor is None:
        return "the gateway"
    key = actor["api_key"]
    if key is None:
        return "no valid key"
    account = _named(key["service_account"])
    name = str(_named(key))
    return name if account in (None, name) else f"{account} ({name})"


def _named(reference: Mapping[str, Any] | None) -> str | None:
    return None if reference is None else str(reference["name"] or reference["id"])
