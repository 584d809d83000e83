"""The cases of a comparison: chosen examples of a file, split into what is sent and the reference answer. Pure."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from service import json_limits
from service.datasets.parsing.formats import calls_of, is_zero, text_of
from service.datasets.parsing.lines import Line, read_lines
from service.runs.comparisons.graders.base import AnswerContent, FunctionCall
from service.runs.comparisons.options import Format, Turn
from service.runs.plan import CHAT

MAX_LINE_BYTES = 16 << 20
MAX_LINE_VALUES = json_limits.MAX_VALUES
"""A request of a caller can have no more, so that an example with more could not be asked either."""

MAX_CASES_BYTES = 64 << 20
"""The largest size of a comparison's cases, which are in memory while it runs."""

MAX_CASES_VALUES = 2_000_000
"""The largest number of their JSON values, each of which takes some 60 bytes of memory. 64 MB of text have a comma, by
which values are counted, every 50 bytes: 1.3 million."""

LEGACY = "/completions"
_REQUEST_FIELDS = ("tools", "functions", "parallel_tool_calls")
_BLANK = b" \t\r\n\x0b\x0c"


class ExampleTooLarge(Exception):
    """The argument says which example exceeds which limit, as a sentence."""


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """One prompt with its reference answer. `line` and `offset` are the example's position in the file, `turn` is the
    index of the answer among its messages; `body` is the request without model and sampling settings, and has at most
    `size_bytes` as JSON."""

    line: int
    offset: int
    turn: int
    path: str
    body: Mapping[str, Any]
    reference: AnswerContent
    size_bytes: int

    @property
    def key(self) -> str:
        """Identifies the case within its file."""
        return f"{self.line}.{self.turn}"

    @property
    def conversation(self) -> list[dict[str, Any]]:
        """The prompt, as messages."""
        messages = self.body.get("messages")
        return messages if isinstance(messages, list) else [{"role": "user", "content": self.body.get("prompt", "")}]


def choose(examples: int, sample_size: int, seed: int) -> list[int]:
    """The indices of the examples to use: all of them, or a sample that depends on the seed only."""
    if sample_size >= examples:
        return list(range(examples))
    return sorted(random.Random(seed).sample(range(examples), sample_size))  # noqa: S311  # a sample, no secret


def read_cases(
    chunks: Iterable[bytes], chosen: Sequence[int], format: Format, *, turn: Turn, stop: Sequence[str]
) -> Iterator[Case]:
    """The cases of the chosen examples of a file, in order. Lines without a usable example give none.

    Raises `ExampleTooLarge` before it decodes one with too many values: decoding holds the interpreter.
    """
    indices = iter(chosen)
    next_index = next(indices, None)
    index = -1
    for line in read_lines(chunks, max_line_bytes=MAX_LINE_BYTES):
        if next_index is None:
            return
        index += bool(line.data.strip(_BLANK))
        if index == next_index:
            next_index = next(indices, None)
            _check_values(line)
            yield from cases_of(line, format, turn=turn, stop=stop)


def _check_values(line: Line) -> None:
    try:
        json_limits.check(line.data, max_values=MAX_LINE_VALUES)
    except json_limits.JsonLimitExceeded as exceeded:
        raise ExampleTooLarge(
            f"The example in line {line.number:,} is too large: {exceeded}. Shorten or remove it."
        ) from None


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
            found: Iterable[tuple[int, Mapping[str, Any], AnswerContent]] = _completion(row, stop)
        case "preference":
            found = _preference(row)
        case "chat":
            found = _chat(row, turn)
    path = LEGACY if format == "completion" else CHAT
    for place, body, reference in found:
        yield Case(
            line=line.number,
            offset=line.offset,
            turn=place,
            path=path,
            body=body,
            reference=reference,
            size_bytes=line.length_bytes,
        )


def answer_content(message: Mapping[str, Any]) -> AnswerContent:
    """The text and the function calls of a message."""
    calls = [
        FunctionCall(str(function.get("name") or ""), _as_json(function.get("arguments")))
        for _, function, _ in calls_of(dict(message))
    ]
    return AnswerContent(text=text_of(message.get("content")), calls=tuple(calls))


def _chat(row: dict[str, Any], turn: Turn) -> Iterator[tuple[int, Mapping[str, Any], AnswerContent]]:
    messages = row.get("messages")
    if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
        return
    answers = [
        place
        for place, message in enumerate(messages)
        if message.get("role") == "assistant" and not is_zero(message.get("weight")) and place
    ]
    for place in answers[:1] if turn == "first" else answers[-1:]:
        yield place, _request(messages[:place], row), answer_content(messages[place])


def _preference(row: dict[str, Any]) -> Iterator[tuple[int, Mapping[str, Any], AnswerContent]]:
    prompt, preferred = row.get("input"), row.get("preferred_output")
    messages = prompt.get("messages") if isinstance(prompt, dict) else None
    if not isinstance(prompt, dict) or not isinstance(messages, list) or not isinstance(preferred, list):
        return
    answer = next((each for each in preferred if isinstance(each, dict) and each.get("role") == "assistant"), None)
    if answer is not None and all(isinstance(message, dict) for message in messages):
        yield len(messages), _request(messages, prompt), answer_content(answer)


def _completion(row: dict[str, Any], stop: Sequence[str]) -> Iterator[tuple[int, Mapping[str, Any], AnswerContent]]:
    prompt, completion = row.get("prompt"), row.get("completion")
    if not isinstance(prompt, str) or not isinstance(completion, str):
        return
    ends = [at for each in stop if (at := completion.find(each)) >= 0]
    yield 0, {"prompt": prompt}, AnswerContent(text=completion[: min(ends)] if ends else completion)


def _request(messages: Sequence[dict[str, Any]], holder: Mapping[str, Any]) -> dict[str, Any]:
    """The request: the messages without their training weights, and the declared functions."""
    unweighted = [{key: value for key, value in message.items() if key != "weight"} for message in messages]
    return {"messages": unweighted, **{key: holder[key] for key in _REQUEST_FIELDS if holder.get(key) is not None}}


def _as_json(arguments: object) -> str:
    return arguments if isinstance(arguments, str) else msgspec.json.encode(arguments).decode()
