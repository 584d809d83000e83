"""A project's limits at the terminal."""

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from rich.console import Console

from cli.client import Client
from cli.errors import Refused
from cli.organization import project_path
from cli.output import Column, dollars, number, print_table, size

COLUMNS = (Column("limit"), Column("allowed", "right"), Column("used", "right"))
NONE = "none"


def change_limits(
    client: Client, project: dict[str, Any], given: Mapping[str, str | None], *, spend: str | None
) -> dict[str, Any]:
    """Set the limits that are given and return all of them. Raises `Refused` before anything is changed."""
    body = {name: _count(text) for name, text in given.items() if text is not None}
    cents = None if spend is None else _cents(spend)
    if not body and spend is None:
        raise Refused("Give at least one limit to set, such as --active-jobs 4.")
    if body:
        client.post(project_path(project, "limits"), body)
    spend_limit = project_path(project, "spend_limit")
    if cents is not None:
        client.post(spend_limit, {"currency": "USD", "interval": "month", "threshold_amount": cents})
    elif spend is not None:
        _remove(client, spend_limit)
    return client.get(project_path(project, "limits"))


def show_limits(limits: Mapping[str, Any], console: Console) -> None:
    """Print limits with their usage; a limit that is not set is unlimited."""
    used = limits["usage"]
    rows = [
        ("spend this month", dollars(limits["spend_limit"]), dollars(used["spend"])),
        ("active jobs", number(limits["max_active_jobs"]), number(used["active_jobs"])),
        ("queued jobs", number(limits["max_queued_jobs"]), number(used["queued_jobs"])),
        ("storage", size(limits["max_storage_bytes"]), size(used["storage_bytes"])),
        ("one file", size(limits["max_file_bytes"]), None),
        (
            "training tokens this month",
            number(limits["max_training_tokens_per_month"]),
            number(used["training_tokens"]),
        ),
        ("requests a minute of a key", number(limits["max_requests_per_key_per_1_minute"]), None),
    ]
    print_table(COLUMNS, [(name, allowed or "no limit", use) for name, allowed, use in rows], console, empty="")


def _remove(client: Client, spend_limit: str) -> None:
    try:
        client.delete(spend_limit)
    except Refused as refused:
        if refused.code != "spend_limit_not_found":
            raise


def _count(text: str) -> int | None:
    if text == NONE:
        return None
    if not text.isascii() or not text.isdecimal():
        raise Refused(f"A limit is a whole number or {NONE!r}, not {text!r}.")
    return int(text)


def _cents(text: str) -> int | None:
    if text == NONE:
        return None
    try:
        cents = Decimal(text) * 100
    except InvalidOperation:
        cents = Decimal(-1)
    if not cents.is_finite() or cents < 0 or cents != cents.to_integral_value():
        raise Refused(f"--spend is dollars with at most two decimals, or {NONE!r}, not {text!r}.")
    return int(cents)
