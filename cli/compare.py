"""`tunegate compare FILE --model BASE --model TUNED`: models over the examples of a file, side by side.

`--watch` shows the progress of one that is running, `--cancel` stops it.
"""

import secrets
import sys
import threading
import time
from pathlib import Path
from typing import Any

import httpx2
import msgspec
from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from cli.arguments.compare import CompareArguments
from cli.gateway import Gateway
from cli.running import (
    EXIT_DONE,
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_REFUSED,
    LOOK_SECONDS,
    Interrupted,
    Refused,
    StillChecking,
    agreed,
    answer_of,
    client_of,
    interruptible,
    posted,
    show_quote,
    stop,
    until_ended,
)

EXIT_NOT_BETTER = 3
PATH = "/model_comparisons"
CHECK_SECONDS = 600.0
"""How long a file that was just uploaded may take to be checked."""

SHORT_GRADERS = {"regular_expression": "pattern", "judge": "model", "contains": "text", "json_schema": "schema"}
"""What stands behind `=` in `TYPE=VALUE`; a schema is the name of a file."""


def compare(gateway: Gateway, arguments: CompareArguments) -> int:
    """Quote, ask, begin and watch. The exit status; what keeps it from being done goes to stderr."""
    console = Console(highlight=False, stderr=arguments.as_json)
    with client_of(gateway) as client:
        try:
            body = read_body(arguments)
            if not arguments.file.startswith("file-"):
                body["file"] = _uploaded(client, Path(arguments.file), console)
            quote = _checked(client, f"{PATH}/quotes", body)
            show_quote(quote, console)
            if not arguments.yes and not agreed(console):
                return EXIT_REFUSED
            with interruptible() as interrupted:
                made = posted(client, PATH, body, key=secrets.token_hex(16))
                return _watched(client, made["id"], console, interrupted, arguments)
        except Refused as error:
            print(f"tunegate: {error}", file=sys.stderr)
            return EXIT_REFUSED


def watch(gateway: Gateway, comparison_id: str, arguments: CompareArguments) -> int:
    """Show how far a comparison is until it has ended, then its figures. The exit status."""
    with client_of(gateway) as client:
        try:
            with interruptible() as interrupted:
                console = Console(highlight=False, stderr=arguments.as_json)
                return _watched(client, comparison_id, console, interrupted, arguments)
        except Refused as error:
            print(f"tunegate: {error}", file=sys.stderr)
            return EXIT_REFUSED


def cancel(gateway: Gateway, comparison_id: str) -> int:
    """Stop a comparison."""
    return stop(gateway, PATH, comparison_id)


def read_body(arguments: CompareArguments) -> dict[str, Any]:
    """The body of a creation. Raises `Refused` for what cannot be read."""
    if not arguments.file:
        raise Refused("Name the file: JSON Lines with examples, or the id of one at the gateway.")
    if not arguments.models:
        raise Refused("Name the models: --model gpt-4o-mini --model ft:…; the first is what others are compared with.")
    graders = [_grader(text) for text in arguments.graders or ("exact",)]
    chosen = {name: value for name, value in arguments.options.items() if value not in (None, ())}
    return {"models": list(arguments.models), "file": arguments.file, "graders": graders, **chosen}


def _grader(text: str) -> dict[str, Any]:
    """A type, a type with its one option, or JSON."""
    if text.lstrip().startswith("{"):
        try:
            read: dict[str, Any] = msgspec.json.decode(text, type=dict[str, Any])
        except msgspec.MsgspecError as error:
            raise Refused(f"--grader {text[:80]!r} is no JSON object: {error}") from None
        return read
    kind, given, value = text.partition("=")
    if not given:
        return {"type": kind}
    if kind not in SHORT_GRADERS:
        raise Refused(f'--grader {kind}=… is not known; give its options as JSON: {{"type": "{kind}", …}}.')
    if kind != "json_schema":
        return {"type": kind, SHORT_GRADERS[kind]: value}
    try:
        return {"type": kind, "schema": msgspec.json.decode(Path(value).read_bytes())}
    except (OSError, msgspec.MsgspecError) as error:
        raise Refused(f"{value} is no JSON Schema that can be read: {error}") from None


def _uploaded(client: httpx2.Client, file: Path, console: Console) -> str:
    try:
        with file.open("rb") as content:
            made = answer_of(client.post("/files", data={"purpose": "fine-tune"}, files={"file": (file.name, content)}))
    except OSError as error:
        raise Refused(f"{file}: {error.strerror or error}") from None
    except httpx2.HTTPError as error:
        raise Refused(f"The gateway cannot be reached: {error}") from None
    console.print(f"{file.name} is {made['id']}", style="dim")
    file_id: str = made["id"]
    return file_id


def _checked(client: httpx2.Client, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """The answer once the file is checked."""
    deadline = time.monotonic() + CHECK_SECONDS
    while True:
        try:
            return posted(client, path, body)
        except StillChecking:
            if time.monotonic() > deadline:
                raise
            time.sleep(LOOK_SECONDS)


def _watched(
    client: httpx2.Client,
    comparison_id: str,
    console: Console,
    interrupted: threading.Event,
    arguments: CompareArguments,
) -> int:
    try:
        shown = until_ended(client, PATH, comparison_id, console, interrupted)
    except Interrupted:
        console.print(f"\n{comparison_id} goes on at the gateway.")
        console.print(f"  tunegate compare --watch {comparison_id}    shows how far it is")
        console.print(f"  tunegate compare --cancel {comparison_id}   stops it")
        return EXIT_INTERRUPTED
    if arguments.out is not None and shown["result"] is not None:
        _export(client, comparison_id, arguments.out)
    if arguments.as_json:
        print(msgspec.json.encode(shown).decode())
    else:
        _show(shown, arguments.out, console)
    if shown["status"] != "succeeded":
        return EXIT_FAILED
    return EXIT_NOT_BETTER if arguments.must_beat and not is_better(shown) else EXIT_DONE


def is_better(shown: dict[str, Any]) -> bool:
    """Whether the last model has a higher score than the first."""
    difference = shown["result"]["models"][-1]["difference"]
    return difference is not None and difference["value"] is not None and difference["value"] > 0


def _export(client: httpx2.Client, comparison_id: str, out: Path) -> None:
    format = "csv" if out.suffix.lower() == ".csv" else "jsonl"
    try:
        with (
            client.stream("GET", f"{PATH}/{comparison_id}/cases", params={"format": format}) as answer,
            out.open("wb") as file,
        ):
            for chunk in answer.iter_bytes():
                file.write(chunk)
    except (httpx2.HTTPError, OSError) as error:
        raise Refused(f"{comparison_id} has ended, and cannot be written to {out}: {error}") from None


def _show(shown: dict[str, Any], out: Path | None, console: Console) -> None:
    well = shown["status"] == "succeeded"
    title = Text("✓ " if well else "✗ ", style="bold green" if well else "bold red")
    title.append(f"{shown['progress']['done']:,} of {shown['progress']['total']:,} examples", style="bold")
    title.append(f"  {shown['id']}  ${shown['cost']['value']:.4f}, {shown['progress']['calls']:,} calls", style="dim")
    console.print(Padding(title, (1, 0, 0, 2)))
    if shown["error"] is not None:
        console.print(Padding(Text(shown["error"]["message"], style="red"), (0, 0, 0, 2)))
    if shown["result"] is not None and shown["result"]["cases"]:
        console.print(Padding(_table(shown), (1, 0, 0, 2)))
        note = "In brackets: 95 % intervals. Wins are over the first model, row by row; ties say nothing of their rate."
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
