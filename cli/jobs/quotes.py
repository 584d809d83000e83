"""The price of a job before it is created."""

from typing import Any

from rich.console import Console
from rich.text import Text

from cli.output import dollars, duration, print_fields, printable


def show_quote(quote: dict[str, Any], console: Console) -> None:
    """Print a quote: epochs, tokens, price, what is left of the budget, and what speaks against the job."""
    console.print()
    console.print(Text(f"Quote for {printable(quote['model'])}", style="bold"))
    tokens, gpu = quote["tokens"], quote["gpu_seconds"]
    billed = f"{tokens['per_epoch']:,} in an epoch, {tokens['billable']:,} billed"
    price = f"{dollars(quote['price']['expected'])} expected, {dollars(quote['price']['upper'])} at most"
    fields = [
        ("  epochs", f"{quote['n_epochs']}: {quote['epochs_reason']}"),
        ("  tokens", billed),
        ("  time", None if gpu is None else f"{duration(gpu['low'])} to {duration(gpu['high'])} on the hardware"),
        ("  price", price),
        ("  budget", dollars(quote["budget"])),
        ("  left this month", dollars(quote["remaining_budget"])),
        ("  model ends", quote["shutdown_date"]),
    ]
    print_fields(fields, console)
    for warning in quote["warnings"]:
        console.print(Text(f"  ! {printable(warning)}", style="yellow"), soft_wrap=True)
    for reason in quote["reasons"]:
        console.print(Text(f"  ✗ {printable(reason)}", style="red"), soft_wrap=True)
    console.print()
