"""Runs at a gateway from the command line: beginning one, watching it to its end, stopping it.

The gateway does the work, so a command that is ended by Ctrl-C leaves its run going.
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

from cli.gateway import Gateway, refusal

EXIT_DONE, EXIT_FAILED, EXIT_REFUSED, EXIT_INTERRUPTED = 0, 1, 2, 130
LOOK_SECONDS = 0.5
AWAY_SECONDS = 120.0
"""How long the gateway may be away before the command gives up watching."""

TIMEOUT_SECONDS = 60.0
ENDED = ("succeeded", "failed", "cancelled")


class Refused(Exception):
    """It cannot be done as it is asked for; the message says why."""


class Interrupted(Exception):
    """Ctrl-C; the run goes on."""


class StillChecking(Refused):
    """The file's report is not made yet: the same again succeeds."""


def client_of(gateway: Gateway) -> httpx2.Client:
    """A client with the project's key."""
    return httpx2.Client(base_url=gateway.base_url, headers=gateway.headers(), timeout=TIMEOUT_SECONDS)


def posted(client: httpx2.Client, path: str, body: dict[str, Any], *, key: str | None = None) -> dict[str, Any]:
    """The answer; with a key, a call whose answer was lost is made again, and nothing is made twice.

    Raises `Refused`.
    """
    headers = {} if key is None else {"idempotency-key": key}
    for tries_left in (2, 1, 0) if key else (0,):
        try:
            return answer_of(client.post(path, json=body, headers=headers))
        except httpx2.HTTPError as error:
            if not tries_left:
                raise Refused(f"The gateway cannot be reached: {error}") from None
            time.sleep(LOOK_SECONDS)
    raise AssertionError("the last try returns or raises")


def answer_of(answer: httpx2.Response) -> dict[str, Any]:
    """A good answer's body. Raises `Refused`."""
    if answer.status_code != 200:
        pending = answer.status_code == 409 and "report_pending" in answer.text
        raise (StillChecking if pending else Refused)(refusal(answer))
    shown: dict[str, Any] = answer.json()
    return shown


def agreed(console: Console) -> bool:
    """Whether a person wants to begin. Raises `Refused` where there is nobody to ask."""
    if not sys.stdin.isatty():
        raise Refused("Give --yes to begin without being asked.")
    return console.input("Begin? [y/N] ").strip().lower() in ("y", "yes")


@contextmanager
def interruptible() -> Iterator[threading.Event]:
    """Ctrl-C sets this and nothing else, so that a call under way comes to its end; a second one cuts.

    The exception that Python raises by itself may come where it is swallowed, or where nobody knows yet what was begun.
    """
    asked = threading.Event()

    def hear(number: int, frame: FrameType | None) -> None:
        asked.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    before = signal.signal(signal.SIGINT, hear)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, before)


def until_ended(
    client: httpx2.Client, path: str, run_id: str, console: Console, interrupted: threading.Event
) -> dict[str, Any]:
    """A bar until the run has ended, then it. Raises `Interrupted`, and `Refused` when the gateway is away for long."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("${task.fields[cost]:.4f}"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[waiting]}", style="yellow"),
    )
    heard_at = time.monotonic()
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task(run_id, total=None, cost=0.0, waiting="")
        while not interrupted.is_set():
            try:
                shown = answer_of(client.get(f"{path}/{run_id}"))
            except httpx2.HTTPError as error:
                if time.monotonic() - heard_at > AWAY_SECONDS:
                    raise Refused(f"The gateway cannot be reached: {error}") from None
                interrupted.wait(LOOK_SECONDS)
                continue
            heard_at = time.monotonic()
            progress.update(
                bar,
                total=shown["progress"]["total"],
                completed=shown["progress"]["done"],
                cost=shown["cost"]["value"],
                waiting=shown["waiting_reason"] or "",
            )
            if shown["status"] in ENDED:
                return shown
            interrupted.wait(LOOK_SECONDS)
    raise Interrupted


def show_quote(quote: dict[str, Any], console: Console) -> None:
    """What it may cost, before it begins."""
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


def stop(gateway: Gateway, path: str, run_id: str) -> int:
    """Stop a run. The exit status."""
    with client_of(gateway) as client:
        try:
            shown = posted(client, f"{path}/{run_id}/cancel", {})
        except Refused as error:
            print(f"tunegate: {error}", file=sys.stderr)
            return EXIT_REFUSED
    print(f"{run_id} is {shown['status']}; it cost ${shown['cost']['value']:.4f}.")
    return EXIT_DONE
