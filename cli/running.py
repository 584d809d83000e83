"""Runs at a gateway, generations and comparisons, from the command line: their price, progress and cancellation.

The gateway does the work: a command that ends by Ctrl-C leaves its run going.
"""

import threading
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from cli.client import Client
from cli.polling import until_ended
from cli.progress import progress_bar

EXIT_DONE, EXIT_FAILED, EXIT_REFUSED, EXIT_INTERRUPTED = 0, 1, 2, 130


def poll_until_ended(
    client: Client, path: str, run_id: str, console: Console, interrupted: threading.Event
) -> dict[str, Any]:
    """Show a progress bar until the run has ended, then return it. Raises as `until_ended`."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("${task.fields[cost]:.4f}"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[waiting]}", style="yellow"),
    )
    with progress_bar(console, *columns) as progress:
        bar = progress.add_task(run_id, total=None, cost=0.0, waiting="")
        for shown in until_ended(lambda: client.get(f"{path}/{run_id}"), interrupted):
            progress.update(
                bar,
                total=shown["progress"]["total"],
                completed=shown["progress"]["done"],
                cost=shown["cost"]["value"],
                waiting=shown["waiting_reason"] or "",
            )
    return shown


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


def cancel_run(client: Client, path: str, run_id: str) -> int:
    """Cancel a run. Returns the exit status. Raises `Refused`."""
    shown = client.post(f"{path}/{run_id}/cancel")
    print(f"{run_id} is {shown['status']}; it cost ${shown['cost']['value']:.4f}.")
    return EXIT_DONE
