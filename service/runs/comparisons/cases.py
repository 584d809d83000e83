"""The examples that are asked: which of a file's, what of each is sent, and what the answer should be. Pure."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from service.datasets.parsing.formats import calls_of, is_zero, text_of
from service.datasets.parsing.lines import Line, read_lines
from service.runs.comparisons.graders.kinds import Call, Said
from service.runs.comparisons.options import Format, Turn
from service.runs.plan import CHAT

MAX_LINE_BYTES = 16 << 20
LEGACY = "/completions"
_SENT_BESIDE = ("tools", "functions", "parallel_tool_calls")
_BLANK = b" \t\r\n\x0b\x0c"


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """A question with the answer that the example has for it. `line` and `offset` say where the example stands in its
    file, `turn` which of its messages the answer is; `body` is what is sent besides the model and its settings."""

    line: int
    offset: int
    turn: int
    path: str
    body: Mapping[str, Any]
    wanted: Said

    @property
    def key(self) -> str:
        """Names it among those of its file."""
        return f"{self.line}.{self.turn}"

    @property
    def conversation(self) -> list[dict[str, Any]]:
        """What was asked, as messages."""
        messages = self.body.get("messages")
        return messages if isinstance(messages, list) else [{"role": "user", "content": self.body.get("prompt", "")}]


def choose(examples: int, wanted: int, seed: int) -> list[int]:
    """Which examples of a file are asked, by their places from 0: all, or as many as wanted, by the seed alone."""
    if wanted >= examples:
        return list(range(examples))
    return sorted(random.Random(seed).sample(range(examples), wanted))  # noqa: S311  # a sample, no secret


def read_cases(
    chunks: Iterable[bytes], chosen: Sequence[int], format: Format, *, turn: Turn, stop: Sequence[str]
) -> Iterator[Case]:
    """The cases of the chosen examples of a file, in order. What is no example gives none."""
    wanted = iter(chosen)
    following = next(wanted, None)
    place = -1
    for line in read_lines(chunks, max_line_bytes=MAX_LINE_BYTES):
        if following is None:
            return
        place += bool(line.data.strip(_BLANK))
        if place == following:
            following = next(wanted, None)
            yield from cases_of(line, format, turn=turn, stop=stop)


def cases_of(line: Line, format: Format, *, turn: Turn, stop: Sequence[str]) -> Iterator[Case]:
    """The cases of one example."""
    try:
        row = msgspec.json.decode(line.data)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return
    if not isinstance(row, dict):
        return
    match format:
        case "completion":
            found: Iterable[tuple[int, Mapping[str, Any], Said]] = _completion(row, stop)
        case "preference":
            found = _preference(row)
        case "chat":
            found = _chat(row, turn)
    path = LEGACY if format == "completion" else CHAT
    for place, body, wanted in found:
        yield Case(line=line.number, offset=line.offset, turn=place, path=path, body=body, wanted=wanted)


def said_of(message: Mapping[str, Any]) -> Said:
    """What a message says and calls."""
    calls = [
        Call(str(function.get("name") or ""), _written(function.get("arguments")))
        for _, function, _ in calls_of(dict(message))
    ]
    return Said(text=text_of(message.get("content")), calls=tuple(calls))


def _chat(row: dict[str, Any], turn: Turn) -> Iterator[tuple[int, Mapping[str, Any], Said]]:
    messages = row.get("messages")
    if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
        return
    answers = [
        place
        for place, message in enumerate(messages)
        if message.get("role") == "assistant" and not is_zero(message.get("weight")) and place
    ]
    for place in answers[:1] if turn == "first" else answers[-1:]:
        yield place, _sent(messages[:place], row), said_of(messages[place])


def _preference(row: dict[str, Any]) -> Iterator[tuple[int, Mapping[str, Any], Said]]:
    asked, preferred = row.get("input"), row.get("preferred_output")
    messages = asked.get("messages") if isinstance(asked, dict) else None
    if not isinstance(asked, dict) or not isinstance(messages, list) or not isinstance(preferred, list):
        return
    answer = next((each for each in preferred if isinstance(each, dict) and each.get("role") == "assistant"), None)
    if answer is not None and all(isinstance(message, dict) for message in messages):
        yield len(messages), _sent(messages, asked), said_of(answer)


def _completion(row: dict[str, Any], stop: Sequence[str]) -> Iterator[tuple[int, Mapping[str, Any], Said]]:
    prompt, completion = row.get("prompt"), row.get("completion")
    if not isinstance(prompt, str) or not isinstance(completion, str):
        return
    ends = [at for each in stop if (at := completion.find(each)) >= 0]
    yield 0, {"prompt": prompt}, Said(text=completion[: min(ends)] if ends else completion)


def _sent(messages: Sequence[dict[str, Any]], holder: Mapping[str, Any]) -> dict[str, Any]:
    """A request's part: messages without the weights of training, and the declared functions."""
    plain = [{key: value for key, value in message.items() if key != "weight"} for message in messages]
    return {"messages": plain, **{key: holder[key] for key in _SENT_BESIDE if holder.get(key) is not None}}


def _written(arguments: object) -> str:
    return arguments if isinstance(arguments, str) else msgspec.json.encode(arguments).decode()
