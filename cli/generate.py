"""`tunegate generate TOPIC…`: generates a dataset at the gateway; shows the price first, then the progress.

The gateway does the work, so this command may end at any time: `--watch` shows the progress again, `--cancel` cancels.
"""

import threading
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from cli import output
from cli.arguments.generate import GenerateArguments
from cli.client import Client
from cli.confirmation import confirm
from cli.downloads import write_response
from cli.errors import Refused
from cli.interruption import Interrupted, interruptible
from cli.running import (
    EXIT_DONE,
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    cancel_run,
    poll_until_ended,
    show_quote,
)

PATH = "/dataset_generations"


def generate(client: Client, arguments: GenerateArguments) -> int:
    """Quote a generation, ask for confirmation, create and follow it. Returns the exit status. Raises `Refused`."""
    console = output.console(stderr=arguments.as_json)
    body = read_body(arguments)
    show_quote(client.post(f"{PATH}/quotes", body), console)
    confirm("Generate?", yes=arguments.yes)
    with interruptible() as interrupted:
        created = client.post(PATH, body)
        return _follow(client, created["id"], console, interrupted, arguments.out, as_json=arguments.as_json)


def follow(client: Client, generation_id: str, *, out: Path | None, as_json: bool) -> int:
    """Show the progress of a generation until it has ended. Returns the exit status. Raises `Refused`."""
    console = output.console(stderr=as_json)
    with interruptible() as interrupted:
        return _follow(client, generation_id, console, interrupted, out, as_json=as_json)


def cancel(client: Client, generation_id: str) -> int:
    """Cancel a generation. Returns the exit status. Raises `Refused`."""
    return cancel_run(client, PATH, generation_id)


def read_body(arguments: GenerateArguments) -> dict[str, Any]:
    """The body of a creation. Raises `Refused` for a file that cannot be read."""
    topics = list(arguments.topics)
    if arguments.topics_file is not None:
        topics += [line.strip() for line in _text(arguments.topics_file).splitlines() if line.strip()]
    if not topics:
        raise Refused("Give topics, or --topics-file with one a line.")
    body: dict[str, Any] = {"topics": topics, "n_per_topic": arguments.n, "seed": arguments.seed}
    if arguments.tools is not None:
        try:
            body["tools"] = msgspec.json.decode(_text(arguments.tools))
        except msgspec.DecodeError as error:
            raise Refused(f"{arguments.tools} is no JSON: {error}") from None
    steps = {
        name: {field: value for field, value in step.items() if value is not None}
        for name, step in (("question", arguments.question), ("answer", arguments.answer))
    }
    body |= {name: step for name, step in steps.items() if step}
    others = {
        "model": arguments.model,
        "system_prompt": arguments.system_prompt,
        "budget": arguments.budget,
        "concurrency": arguments.concurrency,
        "filename": arguments.name,
    }
    return body | {name: value for name, value in others.items() if value is not None}


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Refused(f"{file}: {getattr(error, 'strerror', None) or error}") from None


def _follow(
    client: Client,
    generation_id: str,
    console: Console,
    interrupted: threading.Event,
    out: Path | None,
    *,
    as_json: bool,
) -> int:
    try:
        shown = poll_until_ended(client, PATH, generation_id, console, interrupted)
    except Interrupted:
        console.print(f"\n{generation_id} continues at the gateway.")
        console.print(f"  tunegate generate --watch {generation_id}    shows its progress")
        console.print(f"  tunegate generate --cancel {generation_id}   cancels it")
        return EXIT_INTERRUPTED
    if shown["file"] is not None and out is not None:
        with client.stream("GET", f"/files/{shown['file']}/content") as response:
            write_response(response, out, force=True, console=console)
    if as_json:
        print(msgspec.json.encode(shown).decode())
    else:
        _show(shown, out, console)
    return EXIT_DONE if shown["status"] == "succeeded" else EXIT_FAILED


def _show(shown: dict[str, Any], out: Path | None, console: Console) -> None:
    succeeded = shown["status"] == "succeeded"
    title = Text("✓ " if succeeded else "✗ ", style="bold green" if succeeded else "bold red")
    title.append(f"{shown['progress']['done']:,} of {shown['progress']['total']:,} examples", style="bold")
    title.append(f"  ${shown['cost']['value']:.4f}, {shown['progress']['calls']:,} calls", style="dim")
    console.print(Padding(title, (1, 0, 0, 2)))
    if shown["error"] is not None:
        console.print(Padding(Text(shown["error"]["message"], style="red"), (0, 0, 0, 2)))
    outcome = shown["outcome"] or {}
    counts = [
        f"{outcome[name]:,} {what}"
        for name, what in (
            ("fillers_removed", "filler openings removed"),
            ("near_duplicates", "near duplicates requested again"),
            ("cut", "answers cut by their limit"),
            ("empty_answers", "empty answers"),
            ("invalid_calls", "calls that did not fit their schema"),
            ("missing", "missing"),
        )
        if outcome.get(name)
    ]
    if counts:
        console.print(Padding(Text(", ".join(counts), style="dim"), (0, 0, 0, 2)))
    if shown["file"] is not None:
        where = shown["file"] if out is None else f"{shown['file']}, {out}"
        console.print(Padding(Text(where), (0, 0, 0, 2)))
    console.print()
