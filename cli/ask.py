"""`tunegate ask MODEL TEXT`: asks a model, and prints its answer while it is generated."""

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from cli.client import Client
from cli.errors import Refused
from cli.output import print_json, printable
from cli.paths import path_of

LAYOUT = "\n\t"
"""The control characters of an answer that are printed; others could be escape codes for the terminal."""

NO_TEXT = "The model answered without text, such as with a tool call. `--json` shows the answer."


def ask(
    client: Client, model: str, text: str, *, system: str | None, options: Mapping[str, Any], as_json: bool
) -> None:
    """Ask a model. A model of prompts and completions gets the text as its prompt. Raises `Refused`."""
    text = sys.stdin.read() if text == "-" else text
    body = {"model": model, **{name: value for name, value in options.items() if value is not None}}
    if _takes_chats(client, model):
        path = "/chat/completions"
        messages = [] if system is None else [{"role": "system", "content": system}]
        body["messages"] = [*messages, {"role": "user", "content": text}]
    elif system is not None:
        raise Refused(f"{model} continues a prompt and takes no system message.")
    else:
        path, body["prompt"] = "/completions", text
    if as_json:
        print_json(client.post(path, body))
        return
    has_text = False
    with client.stream("POST", path, json={**body, "stream": True}) as response:
        for piece in texts(response.iter_lines()):
            sys.stdout.write(printable(piece, keep=LAYOUT))
            sys.stdout.flush()
            has_text = has_text or bool(piece)
    print(end="\n" if has_text else "")
    if not has_text:
        raise Refused(NO_TEXT)


def texts(lines: Iterable[str]) -> Iterator[str]:
    """The pieces of the answer in a stream of chunks. Raises `Refused` for an error in it, or if it breaks off."""
    for line in lines:
        name, _, data = line.partition(":")
        if name != "data":
            continue
        if data.strip() == "[DONE]":
            return
        try:
            chunk = json.loads(data)
            if (error := chunk.get("error")) is not None:
                raise Refused(str(error["message"]))
            for choice in chunk["choices"]:
                yield choice["text"] if "text" in choice else (choice["delta"].get("content") or "")
        except (ValueError, KeyError, TypeError, AttributeError):
            raise Refused(f"The gateway sent a chunk that is none: {data[:100]!r}") from None
    raise Refused("The answer broke off.")


def _takes_chats(client: Client, model: str) -> bool:
    shown = client.get(path_of("models", model))
    if "formats" not in shown:  # a tuned model or an alias
        shown = client.get(path_of("models", shown["root"]))
    return "completion" not in shown["formats"] or "chat" in shown["formats"]
