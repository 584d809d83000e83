"""Fixes of messages: empty ones, and those after the last answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from service.datasets.parsing.formats import message_lists
from service.datasets.preparation.changes import Dropped
from service.datasets.preparation.scratch import Row
from service.datasets.report_schema import Format

_INSTEAD_OF_CONTENT = ("tool_calls", "function_call", "refusal", "audio")


def drop_empty_messages(row: Row, format: Format) -> Row | Dropped:
    """Removes messages without content. Drops a row without an answer, or with an answer to an empty question.

    An empty result of a tool is a result, and stays.
    """
    if format == "completion":
        completion = row.get("completion")
        blank = isinstance(completion, str) and not completion.strip()
        return Dropped("The completion is empty.") if blank else row
    lists = list(message_lists(row))
    if not any(is_empty(message) for _, messages in lists for message in messages):
        return row
    for _, messages in lists:
        if all(is_empty(message) for message in messages):
            return Dropped("All its messages are empty.")
    conversation: Any = row.get("messages")
    if format == "chat" and isinstance(conversation, list):
        answers = [message for message in conversation if _role(message) == "assistant"]
        if answers and all(is_empty(answer) for answer in answers):
            return Dropped("The answer is empty.")
        if any(map(_answers_nothing, conversation, [None, *conversation])):
            return Dropped("A question is empty, and its answer would follow another message.")
    return with_messages(row, lambda messages: [message for message in messages if not is_empty(message)])


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
    """Whether a message has no content but white space, and no call, refusal or audio instead. A tool's result that is
    empty says that there is none.
    """
    if not isinstance(message, dict) or not isinstance(message.get("role"), str):
        return False
    if message["role"] in ("tool", "function"):
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


def _role(message: Any) -> Any:
    return message.get("role") if isinstance(message, dict) else None


def _answers_nothing(message: Any, before: Any) -> bool:
    """Whether a message of the assistant with content follows an empty one of the user."""
    return _role(message) == "assistant" and not is_empty(message) and _role(before) == "user" and is_empty(before)
