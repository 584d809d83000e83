"""Fixes of messages: unknown keys, empty messages, messages after the last answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from service.datasets.parsing.formats import CHAT_KEYS, MESSAGE_KEYS, message_lists
from service.datasets.preparation.changes import Dropped
from service.datasets.preparation.scratch import Row
from service.datasets.report_schema import Format

_INSTEAD_OF_CONTENT = ("tool_calls", "function_call", "refusal", "audio")


def drop_unknown_keys(row: Row, format: Format) -> Row | Dropped:
    """Removes keys that are unknown in messages or chat rows."""
    if format == "completion":
        return row
    if format == "chat" and not row.keys() <= CHAT_KEYS:
        row = {key: value for key, value in row.items() if key in CHAT_KEYS}
    if all(message.keys() <= MESSAGE_KEYS for _, messages in message_lists(row) for message in _objects(messages)):
        return row
    return with_messages(row, lambda messages: [_known(message) for message in messages])


def drop_empty_messages(row: Row, format: Format) -> Row | Dropped:
    """Removes messages without content. Drops a row whose answer, or the answer of a tool, is empty."""
    if format == "completion":
        completion = row.get("completion")
        blank = isinstance(completion, str) and not completion.strip()
        return Dropped("The completion is empty.") if blank else row
    empty = [message for _, messages in message_lists(row) for message in messages if is_empty(message)]
    if not empty:
        return row
    if any(message.get("role") in ("tool", "function") for message in empty):
        return Dropped("The answer of a tool is empty.")
    row = with_messages(row, lambda messages: [message for message in messages if not is_empty(message)])
    if any(not messages for _, messages in message_lists(row)):
        return Dropped("All its messages are empty.")
    answers = [message for message in _objects(row.get("messages")) if message.get("role") == "assistant"]
    return row if answers or format != "chat" else Dropped("The answer is empty.")


def drop_trailing_messages(row: Row, format: Format) -> Row | Dropped:
    """Removes messages after the last answer of a chat row. A row without an answer stays, and its check reports it."""
    messages = row.get("messages")
    if format != "chat" or not isinstance(messages, list):
        return row
    answers = [at for at, each in enumerate(messages) if isinstance(each, dict) and each.get("role") == "assistant"]
    if not answers or answers[-1] == len(messages) - 1:
        return row
    return {**row, "messages": messages[: answers[-1] + 1]}


def is_empty(message: Any) -> bool:
    """Whether a message has no content but white space, and no call, refusal or audio instead."""
    if not isinstance(message, dict) or not isinstance(message.get("role"), str):
        return False
    if message["role"] == "assistant" and any(message.get(key) for key in _INSTEAD_OF_CONTENT):
        return False
    content = message.get("content")
    if isinstance(content, list):
        return all(
            isinstance(part, dict) and part.get("type") == "text" and not str(part.get("text") or "").strip()
            for part in content
        )
    return content is None or (isinstance(content, str) and not content.strip())


def with_messages(row: Row, change: Callable[[list[Any]], list[Any]]) -> Row:
    """A copy of a row with `change` applied to every list of messages."""
    made = dict(row)
    for pointer, messages in message_lists(row):
        if pointer == "/input/messages":
            made["input"] = {**row["input"], "messages": change(messages)}
        else:
            made[pointer[1:]] = change(messages)
    return made


def _objects(messages: object) -> list[dict[str, Any]]:
    return [each for each in messages if isinstance(each, dict)] if isinstance(messages, list) else []


def _known(message: Any) -> Any:
    if not isinstance(message, dict):
        return message
    return {key: value for key, value in message.items() if key in MESSAGE_KEYS}
