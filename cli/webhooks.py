"""Webhook endpoints and deliveries at the terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console

from cli.output import Column, moment, print_table, status

ENDPOINTS = (
    Column("id", whole=True),
    Column("name", fold=True),
    Column("url", fold=True),
    Column("status"),
    Column("why", fold=True),
    Column("events", "right"),
)
DELIVERIES = (
    Column("id", whole=True),
    Column("event", fold=True),
    Column("status", whole=True),
    Column("last attempt", fold=True),
    Column("next attempt"),
)


def show_endpoints(endpoints: Sequence[Mapping[str, Any]], console: Console) -> None:
    """Print endpoints as a table."""
    rows = [
        (
            each["id"],
            each["name"],
            each["url"],
            status(each["status"]),
            each["disabled_reason"],
            str(len(each["event_types"])),
        )
        for each in endpoints
    ]
    print_table(ENDPOINTS, rows, console, empty="The project has no webhook endpoints.")


def show_deliveries(deliveries: Sequence[Mapping[str, Any]], console: Console) -> None:
    """Print deliveries as a table, each with its last attempt."""
    print_table(DELIVERIES, [_row(each) for each in deliveries], console, empty="Nothing was sent.")


def _row(delivery: Mapping[str, Any]) -> tuple[Any, ...]:
    attempts = delivery["attempts"]
    last = max(attempts, key=lambda attempt: attempt["at"]) if attempts else None
    outcome = None
    if last is not None:
        answer = last["status_code"] or str(last["error"]).partition(":")[0]
        outcome = f"{len(attempts)}: {answer}, {last['latency_ms']} ms"
    return (
        delivery["id"],
        delivery["event_type"],
        status(delivery["status"]),
        outcome,
        moment(delivery["next_attempt_at"]),
    )
