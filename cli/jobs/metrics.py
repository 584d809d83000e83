"""A job's metrics: a table with curves for people; the API's CSV or JSON for programs."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from cli.output import Column, print_table
from cli.training_view import sparkline

CURVE_WIDTH = 36
MAX_ROWS = 20
SERIES = {
    "train_loss": "loss",
    "train_mean_token_accuracy": "accuracy",
    "valid_loss": "validation loss",
    "valid_mean_token_accuracy": "validation accuracy",
    "full_valid_loss": "full validation loss",
    "full_valid_mean_token_accuracy": "full validation accuracy",
}
"""The columns by the fields of the API's rows; `full_valid_…` are of the whole validation file."""

TITLE_WIDTH = max(map(len, SERIES.values())) + 2


def show_metrics(rows: Sequence[Mapping[str, Any]], console: Console, *, rows_shown: int = MAX_ROWS) -> None:
    """Print each series as a curve, then some steps with their figures: the first, the last, and some between them."""
    for name, title in SERIES.items():
        values = [row[name] for row in rows if row[name] is not None]
        if len(values) > 1:
            ends = f"{values[0]:.3f} → {values[-1]:.3f}"
            name_column, curve = (f"{title:<{TITLE_WIDTH}}", "dim"), (sparkline(values, CURVE_WIDTH), "cyan")
            console.print(Text.assemble(name_column, curve, f"  {ends}"))
    shown = evenly(rows, rows_shown)
    columns = [Column("step", "right"), *(Column(title, "right") for title in SERIES.values())]
    if len(rows) > 1:
        console.print()
    table = [(str(row["step"]), *(_figure(row[name]) for name in SERIES)) for row in shown]
    print_table(columns, table, console, empty="The job has no metrics yet.")
    if len(shown) < len(rows):
        console.print(Text(f"{len(shown)} of {len(rows):,} steps; --csv and --json have all.", style="dim"))


def evenly(rows: Sequence[Mapping[str, Any]], count: int) -> list[Mapping[str, Any]]:
    """At most `count` rows at even distances, with the first and the last."""
    if len(rows) <= count:
        return list(rows)
    return [rows[round(index * (len(rows) - 1) / (count - 1))] for index in range(count)]


def _figure(value: float | None) -> str | None:
    return None if value is None else f"{value:.4f}"
