"""Training files: JSON Lines in the chat, completion or preference format, read row by row.

The trainer refuses rows that it cannot train on and names the line. It does not report on quality.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from .engines.steps import Exchange, Message
from .tokens import count_tokens

MAX_LINE_BYTES = 16 * 1024 * 1024
"""A longer line is refused, which bounds the memory that reading takes."""
_ROLES = {"system", "developer", "user", "assistant", "tool", "function"}
_TOKENS_PER_MESSAGE = 3
_TOKENS_PER_EXAMPLE = 3


class BadRow(ValueError):
    """A row that cannot be trained on; the message names its line."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(f"Line {line}: {reason}" if line else reason)


@dataclass(frozen=True, slots=True)
class Example:
    """One row: the answers to learn (one for each trained assistant message) and its number of tokens."""

    exchanges: tuple[Exchange, ...]
    tokens: int


class ExampleFile:
    """The rows of a file by number; only their offsets are held in memory. BadRow at the first that is wrong.

    `preference` asks for preference rows; else chat or completion rows, one format in the whole file.
    """

    def __init__(self, path: Path, *, preference: bool) -> None:
        self._lines = path.open("rb")
        self._kind: str | None = "input" if preference else None
        self._preference = preference
        self._rows: list[tuple[int, int]] = []
        offset = number = 0
        while line := self._lines.readline(MAX_LINE_BYTES + 1):
            number += 1
            if line.strip():
                self._rows.append((number, offset))
            if len(line) > MAX_LINE_BYTES:
                raise BadRow(number, f"the line is longer than {MAX_LINE_BYTES:,} bytes")
            offset += len(line)
        if not self._rows:
            raise BadRow(0, "The file has no examples")
        self[0]

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Example:
        number, offset = self._rows[index]
        self._lines.seek(offset)
        row = _decode(number, self._lines.readline())
        self._kind = self._kind or next((kind for kind in _READERS if kind in row), None)
        if self._kind is None or self._kind not in row:
            raise BadRow(number, f"expected {_EXPECTED[self._kind or '']}")
        if self._kind == "input" and not self._preference:
            raise BadRow(number, "a preference row can only be trained on with the method 'dpo'")
        return _READERS[self._kind](number, row)

    def check(self) -> int:
        """Read every row. Returns the total number of tokens."""
        return sum(self[index].tokens for index in range(len(self)))


def parse_messages(messages: object) -> tuple[Message, ...]:
    """Messages as a model reads them; ValueError says which is wrong and why."""
    if not isinstance(messages, list) or not messages:
        raise ValueError("messages must be a non-empty list")
    return tuple(_message(index, message) for index, message in enumerate(messages))


def _decode(number: int, line: bytes) -> Mapping[str, Any]:
    try:
        row = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRow(number, f"not valid JSON ({error})") from None
    if not isinstance(row, dict):
        raise BadRow(number, "not a JSON object")
    return row


def _chat(number: int, row: Mapping[str, Any]) -> Example:
    try:
        messages = parse_messages(row["messages"])
    except ValueError as error:
        raise BadRow(number, str(error)) from None
    exchanges = []
    for index, (message, raw) in enumerate(zip(messages, row["messages"], strict=True)):
        weight = raw.get("weight", 1)
        if weight not in (0, 1) or isinstance(weight, bool):
            raise BadRow(number, f"messages[{index}].weight must be 0 or 1")
        if message.role == "assistant" and weight and message.text:
            exchanges.append(Exchange(messages[:index], message.text))
    if not exchanges:
        raise BadRow(number, "no assistant message with content and a weight other than 0")
    return Example(tuple(exchanges), _message_tokens(messages) + _TOKENS_PER_EXAMPLE)


def _completion(number: int, row: Mapping[str, Any]) -> Example:
    prompt, completion = row.get("prompt"), row.get("completion")
    if not isinstance(prompt, str) or not isinstance(completion, str) or not completion:
        raise BadRow(number, "prompt and completion must be strings, and completion not empty")
    exchange = Exchange((Message("user", prompt),), completion)
    return Example((exchange,), count_tokens(prompt) + count_tokens(completion))


def _preference(number: int, row: Mapping[str, Any]) -> Example:
    given = row["input"]
    try:
        context = parse_messages(given.get("messages") if isinstance(given, dict) else None)
        preferred, rejected = (parse_messages(row.get(side)) for side in ("preferred_output", "non_preferred_output"))
    except ValueError as error:
        raise BadRow(number, f"input, preferred_output or non_preferred_output: {error}") from None
    answers = ["\n".join(m.text for m in side if m.role == "assistant") for side in (preferred, rejected)]
    if not answers[0] or not answers[1]:
        raise BadRow(number, "preferred_output and non_preferred_output need an assistant message with content")
    tokens = _message_tokens(context) + _message_tokens(preferred) + _message_tokens(rejected) + _TOKENS_PER_EXAMPLE
    return Example((Exchange(context, answers[0], answers[1]),), tokens)


_READERS = {"messages": _chat, "prompt": _completion, "input": _preference}
_EXPECTED = {
    "": "an object with 'messages', with 'prompt' and 'completion', or with 'input' and the preferred outputs",
    "messages": "'messages', as in the rows before",
    "prompt": "'prompt' and 'completion', as in the rows before",
    "input": "'input', 'preferred_output' and 'non_preferred_output', as the method 'dpo' needs",
}


def _message(index: int, raw: object) -> Message:
    where = f"messages[{index}]"
    if not isinstance(raw, dict):
        raise ValueError(f"{where} must be an object")
    role, content = raw.get("role"), raw.get("content")
    if role not in _ROLES:
        raise ValueError(f"{where}.role must be one of {', '.join(sorted(_ROLES))}")
    calls = raw.get("tool_calls") or raw.get("function_call")
    if content is None and calls and role == "assistant":
        return Message(role, msgspec.json.encode(calls).decode())
    if isinstance(content, list):
        return Message(role, "".join(_part(where, part) for part in content))
    if not isinstance(content, str):
        raise ValueError(f"{where}.content must be a string or a list of parts")
    return Message(role, content)


def _part(where: str, part: object) -> str:
    if not isinstance(part, dict) or not isinstance(part.get("type"), str):
        raise ValueError(f"{where}.content has a part without a type")
    text = part.get("text", part.get("refusal"))
    return text if isinstance(text, str) else f"[{part['type']}]"


def _message_tokens(messages: tuple[Message, ...]) -> int:
    return sum(_TOKENS_PER_MESSAGE + count_tokens(m.role) + count_tokens(m.text) for m in messages)
