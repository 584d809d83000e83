"""Runs at a gateway from the command line: starting, following and cancelling them.

The gateway does the work: a command that ends by Ctrl-C leaves its run going.
"""

import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import httpx2
from rich.console import Console
from rich.padding import Padding
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from cli.client import refusal
from cli.errors import Refused, ReportPending
from cli.gateway import Gateway

EXIT_DONE, EXIT_FAILED, EXIT_REFUSED, EXIT_INTERRUPTED = 0, 1, 2, 130
POLL_SECONDS = 0.5
MAX_UNAVAILABLE_SECONDS = 120.0
"""How long the gateway may be unreachable before the command gives up."""

TIMEOUT_SECONDS = 60.0
ENDED = ("succeeded", "failed", "cancelled")


class Interrupted(Exception):
    """Ctrl-C was pressed; the run continues."""


def http_client(gateway: Gateway) -> httpx2.Client:
    """An HTTP client that sends the project's key."""
    return httpx2.Client(base_url=gateway.base_url, headers=gateway.headers(), timeout=TIMEOUT_SECONDS)


def post(client: httpx2.Client, path: str, body: dict[str, Any], *, key: str | None = None) -> dict[str, Any]:
    """The body of the response. With an idempotency `key`, a request whose response is lost is repeated safely.

    Raises `Refused`.
    """
    headers = {} if key is None else {"idempotency-key": key}
    for attempts_left in (2, 1, 0) if key else (0,):
        try:
            return body_of(client.post(path, json=body, headers=headers))
        except httpx2.HTTPError as error:
            if not attempts_left:
                raise Refused(f"The gateway cannot be reached: {error}") from None
            time.sleep(POLL_SECONDS)
    raise AssertionError("the last attempt returns or raises")


def body_of(response: httpx2.Response) -> dict[str, Any]:
    """The body of a successful response. Raises `Refused`, and `ReportPending` as one."""
    if response.status_code != 200:
        pending = response.status_code == 409 and "report_pending" in response.text
        raise (ReportPending if pending else Refused)(refusal(response))
    body: dict[str, Any] = response.json()
    return body


def confirmed(console: Console) -> bool:
    """Ask for confirmation at the terminal. Raises `Refused` without a terminal."""
    if not sys.stdin.isatty():
        raise Refused("Give --yes to begin without confirmation.")
    return console.input("Begin? [y/N] ").strip().lower() in ("y", "yes")


@contextmanager
def interruptible() -> Iterator[threading.Event]:
    """An event that Ctrl-C sets, instead of raising, so that a request in progress completes; a second Ctrl-C raises.

    Python's own exception could be raised where it is swallowed, or before the id of a started run is known.
    """
    interrupted = threading.Event()

    def handle(number: int, frame: FrameType | None) -> None:
        interrupted.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    before = signal.signal(signal.SIGINT, handle)
    try:
        yield interrupted
    finally:
        signal.signal(signal.SIGINT, before)


def poll_until_ended(
    client: httpx2.Client, path: str, run_id: str, console: Console, interrupted: threading.Event
) -> dict[str, Any]:
    """Show a progress bar until the run has ended, then return it.

    Raises `Interrupted`, and `Refused` when the gateway is unreachable for `MAX_UNAVAILABLE_SECONDS`.
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("${task.fields[cost]:.4f}"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[waiting]}", style="yellow"),
    )
    answered_at = time.monotonic()
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task(run_id, total=None, cost=0.0, waiting="")
        while not interrupted.is_set():
            try:
                shown = body_of(client.get(f"{path}/{run_id}"))
            except httpx2.HTTPError as error:
                if time.monotonic() - answered_at > MAX_UNAVAILABLE_SECONDS:
                    raise Refused(f"The gateway cannot be reached: {error}") from None
                interrupted.wait(POLL_SECONDS)
                continue
            answered_at = time.monotonic()
            progress.update(
                bar,
                total=shown["progress"]["total"],
                completed=shown["progress"]["done"],
                cost=shown["cost"]["value"],
                waiting=shown["waiting_reason"] or "",
            )
            if shown["status"] in ENDED:
                return shown
            interrupted.wait(POLL_SECONDS)
    raise Interrupted


def show_quote(quote: dict[str, Any], console: Console) -> None:
    """Print the estimated cost of a run."""
    grid = Table.grid(padding=(0, 2))
    price = quote["price"]
    grid.add_row("examples", f"{quote['examples']:,}")
    grid.add_row("calls", f"{quote['calls']['low']:,} to {quote['calls']['upper']:,}")
    grid.add_row("price", f"${price['expected']['value']:.4f} expected, ${price['upper']['value']:.4f} at most")
    grid.add_row("budget", f"${quote['budget']['value']:.4f}")
    if quote["remaining_budget"] is not None:
        grid.add_row("left this month", f"${quote['remaining_budget']['value']:.4f}")
    console.print(Padding(grid, (1, 0, 1, 2)))
    for reason in quote["reasons"]:
        console.print(Padding(Text(reason, style="yellow"), (0, 0, 1, 2)))


def cancel_run(gateway: Gateway, path: str, run_id: str) -> int:
    """Cancel a run. Returns the exit status."""
    with http_client(gateway) as client:
        try:
            shown = post(client, f"{path}/{run_id}/cancel", {})
        except Refused as error:
            print(f"tunegate: {error}", file=sys.stderr)
            return EXIT_REFUSED
    print(f"{run_id} is {shown['status']}; it cost ${shown['cost']['value']:.4f}.")
    return EXIT_DONE
