"""`tunegate compare FILE --model BASE --model TUNED`: compares models over the examples of a file.

`--watch` shows the progress of a running comparison, `--cancel` cancels it.
"""

import threading
from pathlib import Path
from typing import Any

import msgspec
from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from cli import output
from cli.arguments.compare import CompareArguments
from cli.checked_files import post_when_checked
from cli.client import Client
from cli.confirmation import confirm
from cli.downloads import write_response
from cli.errors import Refused
from cli.graders import grader_of
from cli.interruption import Interrupted, interruptible
from cli.running import (
    EXIT_DONE,
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    cancel_run,
    poll_until_ended,
    show_quote,
)
from cli.uploads import uploaded

EXIT_NOT_BETTER = 3
PATH = "/model_comparisons"


def compare(client: Client, arguments: CompareArguments) -> int:
    """Quote a comparison, ask for confirmation, create and follow it. Returns the exit status. Raises `Refused`."""
    console = output.console(stderr=arguments.as_json)
    body = read_body(arguments)
    body["file"] = uploaded(client, arguments.file, console)
    show_quote(post_when_checked(client, f"{PATH}/quotes", body), console)
    confirm("Compare?", yes=arguments.yes)
    with interruptible() as interrupted:
        return _follow(client, client.post(PATH, body)["id"], console, interrupted, arguments)


def follow(client: Client, comparison_id: str, arguments: CompareArguments) -> int:
    """Show the progress of a comparison until it has ended, then its figures. Returns the exit status.

    Raises `Refused`.
    """
    console = output.console(stderr=arguments.as_json)
    with interruptible() as interrupted:
        return _follow(client, comparison_id, console, interrupted, arguments)


def cancel(client: Client, comparison_id: str) -> int:
    """Cancel a comparison. Returns the exit status. Raises `Refused`."""
    return cancel_run(client, PATH, comparison_id)


def read_body(arguments: CompareArguments) -> dict[str, Any]:
    """The body of a creation. Raises `Refused` for missing or invalid arguments."""
    if not arguments.file:
        raise Refused("Name the file: JSON Lines with examples, or the id of one at the gateway.")
    if not arguments.models:
        raise Refused("Name the models: --model gpt-4o-mini --model ft:…; the others are compared with the first.")
    graders = [grader_of(text) for text in arguments.graders or ("exact",)]
    options = {name: value for name, value in arguments.options.items() if value not in (None, ())}
    return {"models": list(arguments.models), "file": arguments.file, "graders": graders, **options}


def _follow(
    client: Client,
    comparison_id: str,
    console: Console,
    interrupted: threading.Event,
    arguments: CompareArguments,
) -> int:
    try:
        shown = poll_until_ended(client, PATH, comparison_id, console, interrupted)
    except Interrupted:
        console.print(f"\n{comparison_id} continues at the gateway.")
        console.print(f"  tunegate compare --watch {comparison_id}    shows its progress")
        console.print(f"  tunegate compare --cancel {comparison_id}   cancels it")
        return EXIT_INTERRUPTED
    if arguments.out is not None and shown["result"] is not None:
        _export(client, comparison_id, arguments.out, console)
    if arguments.as_json:
        print(msgspec.json.encode(shown).decode())
    else:
        _show(shown, arguments.out, console)
    if shown["status"] != "succeeded":
        return EXIT_FAILED
    return EXIT_NOT_BETTER if arguments.must_beat and not is_better(shown) else EXIT_DONE


def is_better(shown: dict[str, Any]) -> bool:
    """Whether the last model scores higher than the first."""
    difference = shown["result"]["models"][-1]["difference"]
    return difference is not None and difference["value"] is not None and difference["value"] > 0


def _export(client: Client, comparison_id: str, out: Path, console: Console) -> None:
    format = "csv" if out.suffix.lower() == ".csv" else "jsonl"
    with client.stream("GET", f"{PATH}/{comparison_id}/cases", params={"format": format}) as response:
        write_response(response, out, force=True, console=console)


def _show(shown: dict[str, Any], out: Path | None, console: Console) -> None:
    succeeded = shown["status"] == "succeeded"
    title = Text("✓ " if succeeded else "✗ ", style="bold green" if succeeded else "bold red")
    title.append(f"{shown['progress']['done']:,} of {shown['progress']['total']:,} examples", style="bold")
    title.append(f"  {shown['id']}  ${shown['cost']['value']:.4f}, {shown['progress']['calls']:,} calls", style="dim")
    console.print(Padding(title, (1, 0, 0, 2)))
    if shown["error"] is not None:
        console.print(Padding(Text(shown["error"]["message"], style="red"), (0, 0, 0, 2)))
    if shown["result"] is not None and shown["result"]["cases"]:
        console.print(Padding(_table(shown), (1, 0, 0, 2)))
        note = "In brackets: 95 % intervals. Wins are over the first model, case by case; the win rate leaves out ties."
        console.print(Padding(Text(note, style="dim"), (0, 0, 0, 2)))
    if out is not None:
        console.print(Padding(Text(f"All answers: {out}"), (0, 0, 0, 2)))
    console.print()


def _table(shown: dict[str, Any]) -> Table:
    models = shown["result"]["models"]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("")
    for model in models:
        table.add_column(Text(model["asked"], overflow="fold"), justify="right")
    table.add_row("score", *[_estimate(model["score"]) for model in models], style="bold")
    table.add_row("better by", *[_signed(model["difference"]) for model in models])
    table.add_row("wins / ties / losses", *[_wins(model["wins"]) for model in models])
    table.add_row("win rate", *[_percent(model["wins"]["rate"]) if model["wins"] else "" for model in models])
    for name in [grader["name"] for grader in shown["graders"]]:
        found = [model["graders"].get(name) for model in models]
        table.add_row(f"{name}: score", *["" if each is None else _estimate(each["score"]) for each in found])
        table.add_row(f"{name}: passed", *["" if each is None else _percent(each["pass_rate"]) for each in found])
    table.add_row("tokens", *[f"{model['tokens']['input']:,} + {model['tokens']['output']:,}" for model in models])
    table.add_row("cost", *[f"${model['cost']['value']:.4f}" for model in models])
    if any(model["cut"] or model["refused"] for model in models):
        table.add_row("cut / refused", *[f"{model['cut']:,} / {model['refused']:,}" for model in models])
    return table


def _estimate(figure: dict[str, Any]) -> str:
    if figure["value"] is None:
        return ""
    return f"{figure['value']:.3f}" + ("" if figure["low"] is None else f" [{figure['low']:.3f}, {figure['high']:.3f}]")


def _signed(figure: dict[str, Any] | None) -> str:
    if figure is None or figure["value"] is None:
        return ""
    around = "" if figure["low"] is None else f" [{figure['low']:+.3f}, {figure['high']:+.3f}]"
    return f"{figure['value']:+.3f}{around}"


def _percent(figure: dict[str, Any]) -> str:
    if figure["value"] is None:
        return ""
    around = "" if figure["low"] is None else f" [{figure['low']:.0%}, {figure['high']:.0%}]"
    return f"{figure['value']:.0%}{around}"


def _wins(wins: dict[str, Any] | None) -> str:
    return "" if wins is None else f"{wins['wins']:,} / {wins['ties']:,} / {wins['losses']:,}"
