"""Training files: JSON Lines in the chat, completion or preference format, read row by row.

The trainer refuses rows that it cannot train on and names the line. It does not report on quality.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from .rows import ChatRow, CompletionRow, Conversation, Message, PreferenceRow, Row, has_content, is_trained

MAX_LINE_BYTES = 16 * 1024 * 1024
"""A longer line is refused, which bounds the memory that reading takes."""
_ROLES = {"system", "developer", "user", "assistant", "tool", "function"}


class BadRow(ValueError):
    """A row that cannot be trained on; the message names its line."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(f"Line {line}: {reason}" if line else reason)


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

    def __getitem__(self, index: int) -> Row:
        number, offset = self._rows[index]
        self._lines.seek(offset)
        row = _decode(number, self._lines.readline())
        self._kind = self._kind or next((kind for kind in _READERS if kind in row), None)
        if self._kind is None or self._kind not in row:
            raise BadRow(number, f"expected {_EXPECTED[self._kind or '']}")
        if self._kind == "input" and not self._preference:
            raise BadRow(number, "a preference row can only be trained on with the method 'dpo'")
        try:
            return _READERS[self._kind](row)
        except ValueError as error:
            raise BadRow(number, str(error)) from None

    def line(self, index: int) -> int:
        """The number of a row's line, from 1."""
        return self._rows[index][0]


def parse_conversation(given: Mapping[str, Any]) -> Conversation:
    """The `messages` and `tools` (or older `functions`) of a row or a request; ValueError says what is wrong."""
    if given.get("parallel_tool_calls") not in (None, True, False):
        raise ValueError("parallel_tool_calls must be true or false")
    functions = [{"type": "function", "function": each} for each in _objects(given, "functions")]
    return Conversation(_messages(given.get("messages")), (*_objects(given, "tools"), *functions))


def _decode(number: int, line: bytes) -> Mapping[str, Any]:
    try:
        row = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRow(number, f"not valid JSON ({error})") from None
    if not isinstance(row, dict):
        raise BadRow(number, "not a JSON object")
    return row


def _chat(row: Mapping[str, Any]) -> Row:
    conversation = parse_conversation(row)
    for index, message in enumerate(conversation.messages):
        weight = message.get("weight", 1)
        if weight not in (0, 1) or isinstance(weight, bool):
            raise ValueError(f"messages[{index}].weight must be 0 or 1")
    if not any(is_trained(message) for message in conversation.messages):
        raise ValueError("no assistant message with content and a weight other than 0")
    return ChatRow(conversation)


def _completion(row: Mapping[str, Any]) -> Row:
    prompt, completion = row.get("prompt"), row.get("completion")
    if not isinstance(prompt, str) or not isinstance(completion, str) or not completion:
        raise ValueError("prompt and completion must be strings, and completion not empty")
    return CompletionRow(prompt, completion)


def _preference(row: Mapping[str, Any]) -> Row:
    given = row["input"]
    try:
        conversation = parse_conversation(given if isinstance(given, dict) else {})
        preferred, rejected = (_messages(row.get(side)) for side in ("preferred_output", "non_preferred_output"))
    except ValueError as error:
        raise ValueError(f"input, preferred_output or non_preferred_output: {error}") from None
    for side in (preferred, rejected):
        if not any(message["role"] == "assistant" and has_content(message) for message in side):
            raise ValueError("preferred_output and non_preferred_output need an assistant message with content")
    return PreferenceRow(conversation, preferred, rejected)


_READERS = {"messages": _chat, "prompt": _completion, "input": _preference}
_EXPECTED = {
    "": "an object with 'messages', with 'prompt' and 'completion', or with 'input' and the preferred outputs",
    "messages": "'messages', as in the rows before",
    "prompt": "'prompt' and 'completion', as in the rows before",
    "input": "'input', 'preferred_output' and 'non_preferred_output', as the method 'dpo' needs",
}


def _messages(messages: object) -> tuple[Message, ...]:
    if not isinstance(messages, list) or not messages:
        raise ValueError("messages must be a non-empty list")
    for index, message in enumerate(messages):
        _check_message(f"messages[{index}]", message)
    return tuple(messages)


def _check_message(where: str, message: object) -> None:
    if not isinstance(message, dict):
        raise ValueError(f"{where} must be an object")
    role, content = message.get("role"), message.get("content")
    if not isinstance(role, str) or role not in _ROLES:
        raise ValueError(f"{where}.role must be one of {', '.join(sorted(_ROLES))}")
    if content is None and role == "assistant" and has_content(message):
        return
    if isinstance(content, list):
        if not all(isinstance(part, dict) and isinstance(part.get("type"), str) for part in content):
            raise ValueError(f"{where}.content has a part without a type")
    elif not isinstance(content, str):
        raise ValueError(f"{where}.content must be a string or a list of parts")


def _objects(given: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    found = given.get(name) or []
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise ValueError(f"{name} must be a list of objects")
    return found
