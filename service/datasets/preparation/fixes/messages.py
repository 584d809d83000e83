"""Fixes of messages: empty ones, and those after the last answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from service.datasets.other_keys.messages import truth
from service.datasets.other_keys.names import known_role
from service.datasets.parsing.formats import message_lists
from service.datasets.preparation.changes import Dropped
from service.datasets.preparation.scratch import Row
from service.datasets.report_schema import Format

_INSTEAD_OF_CONTENT = ("tool_calls", "function_call", "refusal", "audio")


def drop_empty_messages(row: Row, format: Format) -> Row | Dropped:
    """Removes messages without content. Drops a row without an answer, or with an answer to an empty question.

    An empty result of a tool is a result, and stays. So does an empty message with another value: it may be what is
    missing.
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
    return with_messages(row, lambda messages: [message for message in messages if not _says_nothing(message)])


def drop_trailing_messages(row: Row, format: Format) -> Row | Dropped:
    """Removes messages after the last answer of a chat row: nothing answers them, so that they train nothing.

    A row without an answer stays, and so does one that ends with a message of an unknown role: checks report them.
    """
    messages = row.get("messages")
    if format != "chat" or not isinstance(messages, list):
        return row
    roles = [known_role(_role(message)) for message in messages]
    answers = [at for at, role in enumerate(roles) if role == "assistant" and not is_empty(messages[at])]
    end = answers[-1] + 1 if answers else len(roles)
    if end == len(roles) or None in roles[end:] or "assistant" in roles[end:]:
        return row
    return {**row, "messages": messages[:end]}


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


def _says_nothing(message: Any) -> bool:
    return is_empty(message) and all(
        key in ("role", "content", "name") or not value or (key == "weight" and truth(value) is not None)
        for key, value in message.items()
    )


def _answers_nothing(message: Any, before: Any) -> bool:
    """Whether a message of the assistant with content follows an empty one of the user."""
    return _role(message) == "assistant" and not is_empty(message) and _role(before) == "user" and is_empty(before)
