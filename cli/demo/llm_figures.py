"""The tables of `tunegate demo --llm`: what a comparison, a job's metrics and its answers show. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

NAMES = {"regular_expression": "in the asked form", "exact": "exactly right"}
"""The graders of the demo, as a reader names what they measure."""


def comparison_table(shown: Mapping[str, Any]) -> Table:
    """Base and tuned model on held-out examples: the share that passed each grader, and the mean score's difference."""
    base, tuned = shown["result"]["models"]
    title = Text(f"{shown['result']['cases']} tickets that no model was trained on", style="bold")
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("95 % intervals in brackets")
    table.add_column("base", justify="right")
    table.add_column("tuned", justify="right", header_style="bold green")
    for grader, name in NAMES.items():
        table.add_row(name, *[_share(model["graders"][grader]["pass_rate"]) for model in (base, tuned)])
    table.add_row("score", *[_score(model["score"]) for model in (base, tuned)], style="bold")
    table.add_row("better by", "", _score(tuned["difference"], sign="+"))
    wins = tuned["wins"]
    table.add_row("wins / ties / losses", "", f"{wins['wins']} / {wins['ties']} / {wins['losses']}")
    return table


def held_out_losses(metrics: Sequence[Mapping[str, Any]]) -> list[float]:
    """The loss on the whole validation file, wherever it was measured, in the order of the steps."""
    by_step = sorted(metrics, key=lambda metric: metric["step"])
    return [metric["full_valid_loss"] for metric in by_step if metric.get("full_valid_loss") is not None]


def answers_table(rows: Sequence[tuple[str, str, str]]) -> Table:
    """Questions with the answers of both models, side by side."""
    title = Text("Tickets that are in none of the files", style="bold")
    table = Table(title=title, title_justify="left", expand=True, padding=(0, 1))
    table.add_column("ticket", ratio=2, overflow="fold")
    table.add_column("base", ratio=2, overflow="fold")
    table.add_column("tuned", ratio=1, overflow="fold", header_style="bold green")
    for question, base, tuned in rows:
        table.add_row(Text(question), Text(base, style="dim"), Text(tuned, style="bold"))
    return table


def _share(figure: Mapping[str, Any]) -> str:
    return f"{figure['value']:.0%} [{figure['low']:.0%}, {figure['high']:.0%}]"


def _score(figure: Mapping[str, Any], *, sign: str = "") -> str:
    value, low, high = (f"{figure[name]:{sign}.2f}" for name in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"
