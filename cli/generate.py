"""`tunegate generate TOPIC…`: a dataset made at the gateway by asking models; its price first, then a bar.

The gateway does the work, so this command may be ended at any time: `--watch` shows the bar again, `--cancel` stops it.
"""

import secrets
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import msgspec
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
PATH = "/dataset_generations"


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """The command's options, as they were typed."""

    topics: tuple[str, ...]
    topics_file: Path | None
    n: int
    model: str | None
    question: dict[str, Any]
    answer: dict[str, Any]
    system_prompt: str | None
    tools: Path | None
    seed: int
    budget: float | None
    concurrency: int | None
    name: str | None
    out: Path | None
    yes: bool
    as_json: bool


class Refused(Exception):
    """It cannot be done as it is asked for; the message says why."""


def generate(gateway: Gateway, wishes: Wishes) -> int:
    """Quote, ask, begin and watch. The exit status; what keeps it from being done goes to stderr."""
    console = Console(highlight=False, stderr=wishes.as_json)
    with _client(gateway) as client:
        try:
            body = read_body(wishes)
            quote = _posted(client, f"{PATH}/quotes", body)
            _show_quote(quote, console)
            if not wishes.yes and not _agreed(console):
                return EXIT_REFUSED
            made = _posted(client, PATH, body, key=secrets.token_hex(16))
            return _watched(client, made["id"], console, wishes.out, as_json=wishes.as_json)
        except Refused as error:
            print(f"tunegate: {error}", file=sys.stderr)
            return EXIT_REFUSED


def watch(gateway: Gateway, generation_id: str, *, out: Path | None, as_json: bool) -> int:
    """Show how far a generation is until it has ended. The exit status."""
    with _client(gateway) as client:
        try:
            return _watched(client, generation_id, Console(highlight=False, stderr=as_json), out, as_json=as_json)
        except Refused as error:
            print(f"tunegate: {error}", file=sys.stderr)
            return EXIT_REFUSED


def cancel(gateway: Gateway, generation_id: str) -> int:
    """Stop a generation."""
    with _client(gateway) as client:
        try:
            shown = _posted(client, f"{PATH}/{generation_id}/cancel", {})
        except Refused as error:
            print(f"tunegate: {error}", file=sys.stderr)
            return EXIT_REFUSED
    print(f"{generation_id} is {shown['status']}; it cost ${shown['cost']['value']:.4f}.")
    return EXIT_DONE


def read_body(wishes: Wishes) -> dict[str, Any]:
    """The body of a creation. Raises `Refused` for a file that cannot be read."""
    topics = list(wishes.topics)
    if wishes.topics_file is not None:
        topics += [line.strip() for line in _text(wishes.topics_file).splitlines() if line.strip()]
    if not topics:
        raise Refused("Give topics, or --topics-file with one a line.")
    body: dict[str, Any] = {"topics": topics, "n_per_topic": wishes.n, "seed": wishes.seed}
    if wishes.tools is not None:
        try:
            body["tools"] = msgspec.json.decode(_text(wishes.tools))
        except msgspec.DecodeError as error:
            raise Refused(f"{wishes.tools} is no JSON: {error}") from None
    steps = {
        name: {field: value for field, value in step.items() if value is not None}
        for name, step in (("question", wishes.question), ("answer", wishes.answer))
    }
    body |= {name: step for name, step in steps.items() if step}
    others = {
        "model": wishes.model,
        "system_prompt": wishes.system_prompt,
        "budget": wishes.budget,
        "concurrency": wishes.concurrency,
        "filename": wishes.name,
    }
    return body | {name: value for name, value in others.items() if value is not None}


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Refused(f"{file}: {getattr(error, 'strerror', None) or error}") from None


def _client(gateway: Gateway) -> httpx2.Client:
    return httpx2.Client(base_url=gateway.base_url, headers=gateway.headers(), timeout=TIMEOUT_SECONDS)


def _posted(client: httpx2.Client, path: str, body: dict[str, Any], *, key: str | None = None) -> dict[str, Any]:
    """The answer; with a key, a call whose answer was lost is made again, and nothing is made twice."""
    headers = {} if key is None else {"idempotency-key": key}
    for tries_left in (2, 1, 0) if key else (0,):
        try:
            return _answer(client.post(path, json=body, headers=headers))
        except httpx2.HTTPError as error:
            if not tries_left:
                raise Refused(f"The gateway cannot be reached: {error}") from None
            time.sleep(LOOK_SECONDS)
    raise AssertionError("the last try returns or raises")


def _answer(answer: httpx2.Response) -> dict[str, Any]:
    if answer.status_code != 200:
        raise Refused(refusal(answer))
    shown: dict[str, Any] = answer.json()
    return shown


def _agreed(console: Console) -> bool:
    if not sys.stdin.isatty():
        raise Refused("Give --yes to begin without being asked.")
    return console.input("Begin? [y/N] ").strip().lower() in ("y", "yes")


def _watched(client: httpx2.Client, generation_id: str, console: Console, out: Path | None, *, as_json: bool) -> int:
    try:
        shown = _until_ended(client, generation_id, console)
    except KeyboardInterrupt:
        console.print(f"\n{generation_id} goes on at the gateway.")
        console.print(f"  tunegate generate --watch {generation_id}    shows how far it is")
        console.print(f"  tunegate generate --cancel {generation_id}   stops it")
        return EXIT_INTERRUPTED
    if shown["file"] is not None and out is not None:
        _download(client, shown["file"], out)
    if as_json:
        print(msgspec.json.encode(shown).decode())
    else:
        _show(shown, out, console)
    return EXIT_DONE if shown["status"] == "succeeded" else EXIT_FAILED


def _until_ended(client: httpx2.Client, generation_id: str, console: Console) -> dict[str, Any]:
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
        bar = progress.add_task(generation_id, total=None, cost=0.0, waiting="")
        while True:
            try:
                shown = _answer(client.get(f"{PATH}/{generation_id}"))
            except httpx2.HTTPError as error:
                if time.monotonic() - heard_at > AWAY_SECONDS:
                    raise Refused(f"The gateway cannot be reached: {error}") from None
                time.sleep(LOOK_SECONDS)
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
            time.sleep(LOOK_SECONDS)


def _download(client: httpx2.Client, file_id: str, out: Path) -> None:
    try:
        with client.stream("GET", f"/files/{file_id}/content") as answer, out.open("wb") as file:
            for chunk in answer.iter_bytes():
                file.write(chunk)
    except (httpx2.HTTPError, OSError) as error:
        raise Refused(f"{file_id} is made, and cannot be written to {out}: {error}") from None


def _show_quote(quote: dict[str, Any], console: Console) -> None:
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


def _show(shown: dict[str, Any], out: Path | None, console: Console) -> None:
    well = shown["status"] == "succeeded"
    title = Text("✓ " if well else "✗ ", style="bold green" if well else "bold red")
    title.append(f"{shown['progress']['done']:,} of {shown['progress']['total']:,} examples", style="bold")
    title.append(f"  ${shown['cost']['value']:.4f}, {shown['progress']['calls']:,} calls", style="dim")
    console.print(Padding(title, (1, 0, 0, 2)))
    if shown["error"] is not None:
        console.print(Padding(Text(shown["error"]["message"], style="red"), (0, 0, 0, 2)))
    outcome = shown["outcome"] or {}
    told = [
        f"{outcome[name]:,} {what}"
        for name, what in (
            ("fillers_removed", "filler openings removed"),
            ("near_duplicates", "near duplicates asked again"),
            ("cut", "answers cut by their limit"),
            ("empty_answers", "empty answers"),
            ("invalid_calls", "calls that did not fit their schema"),
            ("missing", "missing"),
        )
        if outcome.get(name)
    ]
    if told:
        console.print(Padding(Text(", ".join(told), style="dim"), (0, 0, 0, 2)))
    if shown["file"] is not None:
        where = shown["file"] if out is None else f"{shown['file']}, {out}"
        console.print(Padding(Text(where), (0, 0, 0, 2)))
    console.print()
