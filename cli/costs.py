"""Costs at the terminal: read in one call for the last days, and summed by what a person asks for."""

import datetime as dt
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from rich.console import Console

from cli.errors import Refused
from cli.organization import View
from cli.output import Column, dollars, number, print_table

FIELDS = {"model": "model", "key": "api_key_id", "job": "job_id", "kind": "line_item", "project": "project_id"}
"""What the API groups by, for each `--by` but `day`."""

NAMES = {"key": "api_key_name", "project": "project_name"}
NOTHING = {"job": "inference", "key": "no key"}
MICROS = 1_000_000


def read_costs(view: View, *, since: str, by: str) -> dict[str, Any]:
    """All days since then that have costs, the newest first, as one page of the API. Raises `Refused`."""
    if by == "project" and not view.everything:
        raise Refused("A project has no other projects: --by project needs --organization.")
    groups = [] if by == "day" else [FIELDS[by]]
    query = {"since": since, "order": "desc", "empty_buckets": "false", "group_by[]": groups, **view.filters()}
    page = view.client.get(view.path("costs"), **query)
    days = list(page["data"])
    while page["has_more"]:
        page = view.client.get(view.path("costs"), **query, page=page["next_page"])
        days += page["data"]
    return {**page, "data": days}


def show_costs(page: Mapping[str, Any], console: Console, *, by: str, since: str) -> None:
    """Print a table with a line for each group or day, the largest or newest first, and their sum."""
    found: list[tuple[str, str | None, int]]
    if by == "day":
        found = [(_day(bucket["start_time"]), None, _sum(bucket["results"])) for bucket in page["data"]]
    else:
        found = sorted(_groups(page, by), key=lambda group: (-group[2], group[0]))
    total = sum(micros for _, _, micros in found)
    rows = [(name, ident, _dollars(micros), _share(micros, total)) for name, ident, micros in found]
    if len(rows) > 1:
        rows.append(("total", None, _dollars(total), None))
    columns = (Column(by, fold=True), Column("id", whole=True), Column("cost", "right"), Column("share", "right"))
    print_table(columns, rows, console, empty=f"Nothing was spent in the last {since}.")


def _groups(page: Mapping[str, Any], by: str) -> list[tuple[str, str | None, int]]:
    micros: defaultdict[tuple[str, str | None], int] = defaultdict(int)
    for result in (result for bucket in page["data"] for result in bucket["results"]):
        ident = result[FIELDS[by]]
        name = result[NAMES[by]] if by in NAMES else ident
        key = (name or ident or NOTHING.get(by, "other"), ident if by in NAMES else None)
        micros[key] += _micros(result)
    return [(name, ident, spent) for (name, ident), spent in micros.items()]


def _sum(results: list[dict[str, Any]]) -> int:
    return sum(_micros(result) for result in results)


def _micros(result: Mapping[str, Any]) -> int:
    return round(float(result["amount"]["value"]) * MICROS)


def _dollars(micros: int) -> str | None:
    return dollars({"value": micros / MICROS})


def _share(micros: int, total: int) -> str | None:
    return f"{number(100 * micros / total)} %" if total else None


def _day(start_time: int) -> str:
    return f"{dt.datetime.fromtimestamp(start_time, dt.UTC):%a %Y-%m-%d}"
