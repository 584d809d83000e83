"""Checks of chat rows: the list of messages, their roles, contents, weights and order.

Sources of the rules: OpenAI's guide to supervised fine-tuning, the errors that its API returns, and the cookbook's
notebook "Data preparation and analysis for chat model fine-tuning".
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from service.datasets.checks.registry import Hit, example_check
from service.datasets.other_keys.messages import truth
from service.datasets.other_keys.names import known_role
from service.datasets.parsing.formats import ROLES, is_zero, message_lists, messages_of

SECTION = "Chat"
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_ROLE_LIST = ", ".join(ROLES)
TOOL_ROLES = ("tool", "function")
_PART_TYPES = ("text", "image_url", "input_audio", "refusal", "file")


@example_check("messages_missing", "error", SECTION, formats=("chat", "reinforcement"))
def messages_missing(row: dict[str, Any]) -> Iterator[Hit]:
    """`messages` is not a list with at least one message."""
    messages = row.get("messages")
    if not isinstance(messages, list):
        yield Hit("/messages", messages, 'messages must be a list of messages: [{"role": …, "content": …}, …].')
    elif not messages:
        yield Hit("/messages", messages, "messages is empty; give at least a user message and an assistant message.")


@example_check("message_not_an_object", "error", SECTION, formats=("chat", "preference", "reinforcement"))
def message_not_an_object(row: dict[str, Any]) -> Iterator[Hit]:
    """A message is not an object."""
    for pointer, messages in message_lists(row):
        for index, message in enumerate(messages):
            if not isinstance(message, dict):
                yield Hit(f"{pointer}/{index}", message, "A message is an object with role and content.")


@example_check("role_missing", "error", SECTION, formats=("chat", "preference", "reinforcement"))
def role_missing(row: dict[str, Any]) -> Iterator[Hit]:
    """A message has no role."""
    for pointer, message in messages_of(row):
        if message.get("role") is None:
            yield Hit(f"{pointer}/role", message, f"This message has no role; give one of {_ROLE_LIST}.")


@example_check("role_unknown", "error", SECTION, formats=("chat", "preference", "reinforcement"))
def role_unknown(row: dict[str, Any]) -> Iterator[Hit]:
    """A role is not one of system, developer, user, assistant, tool, function, and none of the names that other tools
    use for them.
    """
    for pointer, message in messages_of(row):
        role = message.get("role")
        if role is not None and known_role(role) is None:
            yield Hit(f"{pointer}/role", role, f"The role must be one of {_ROLE_LIST}.")


@example_check("content_missing", "error", SECTION, formats=("chat", "preference", "reinforcement"))
def content_missing(row: dict[str, Any]) -> Iterator[Hit]:
    """A message has no content. Only assistant messages with `tool_calls`, `function_call` or `refusal` need none. A
    tool that returns nothing answers with an empty string, not with null.
    """
    for pointer, message in messages_of(row):
        if message.get("content") is None and not _may_lack_content(message):
            by_tool = _role(message) in TOOL_ROLES
            advice = 'write "" if the tool returned nothing.' if by_tool else "give a string, or remove it."
            yield Hit(f"{pointer}/content", message, f"This message has no content; {advice}")


@example_check("content_type", "error", SECTION, formats=("chat", "preference", "reinforcement"))
def content_type(row: dict[str, Any]) -> Iterator[Hit]:
    """Content is neither a string nor a list of parts, which are objects with a known `type` and its fields."""
    for pointer, message in messages_of(row):
        content = message.get("content")
        if isinstance(content, list):
            for index, part in enumerate(content):
                wrong = _wrong_part(part)
                if wrong:
                    yield Hit(f"{pointer}/content/{index}", part, wrong)
        elif content is not None and not isinstance(content, str):
            yield Hit(f"{pointer}/content", content, "content must be a string or a list of parts.")


@example_check(
    "content_empty", "error", SECTION, formats=("chat", "preference", "reinforcement"), fix="drop_empty_messages"
)
def content_empty(row: dict[str, Any]) -> Iterator[Hit]:
    """Content is empty or only white space: there is nothing to train on. The result of a tool may be empty."""
    for pointer, message in messages_of(row):
        if _role(message) in TOOL_ROLES:
            continue
        content = message.get("content")
        if isinstance(content, str):
            empty = not content or content.isspace()
        elif isinstance(content, list):
            empty = all(
                isinstance(part, dict) and part.get("type") == "text" and not str(part.get("text") or "").strip()
                for part in content
            )
        else:
            continue
        if empty and not _may_lack_content(message):
            yield Hit(f"{pointer}/content", content, "The content is empty or only white space; fill or remove it.")


@example_check("assistant_missing", "error", SECTION, formats=("chat",))
def assistant_missing(row: dict[str, Any]) -> Iterator[Hit]:
    """A row has no assistant message: without an answer there is nothing to learn."""
    messages = row.get("messages")
    if isinstance(messages, list) and messages and not any(_role(message) == "assistant" for message in messages):
        yield Hit(
            "/messages", messages, "No message is from the assistant; add the answer that the model should learn."
        )


@example_check("nothing_trained", "error", SECTION, formats=("chat",), needs=("weight",))
def nothing_trained(row: dict[str, Any]) -> Iterator[Hit]:
    """All assistant messages of a row have weight 0, so the row trains nothing."""
    messages = row.get("messages")
    if not isinstance(messages, list):
        return
    answers = [message for message in messages if _role(message) == "assistant"]
    if answers and all(is_zero(answer.get("weight")) for answer in answers):
        yield Hit("/messages", messages, "Every assistant message has weight 0; give one of them weight 1.")


@example_check("weight_value", "error", SECTION, formats=("chat", "preference", "reinforcement"), needs=("weight",))
def weight_value(row: dict[str, Any]) -> Iterator[Hit]:
    """A weight is not 0 or 1, nor another way to write one of them (`other_notation`)."""
    for pointer, message in messages_of(row):
        weight = message.get("weight")
        if weight is not None and truth(weight) is None:
            yield Hit(f"{pointer}/weight", weight, "weight must be the number 0 or 1.")


@example_check(
    "weight_not_on_assistant", "error", SECTION, formats=("chat", "preference", "reinforcement"), needs=("weight",)
)
def weight_not_on_assistant(row: dict[str, Any]) -> Iterator[Hit]:
    """A message whose role is not assistant has a weight other than 0. Only assistant messages can be trained."""
    for pointer, message in messages_of(row):
        if message.get("role") != "assistant" and "weight" in message and truth(message["weight"]) is not False:
            yield Hit(f"{pointer}/weight", message["weight"], "Only assistant messages can have a weight; remove it.")


@example_check("last_message_not_assistant", "error", SECTION, formats=("chat",), fix="drop_trailing_messages")
def last_message_not_assistant(row: dict[str, Any]) -> Iterator[Hit]:
    """The last message is not the assistant's. Messages after the last answer teach nothing; upstreams refuse them."""
    messages = row.get("messages")
    if not isinstance(messages, list) or not any(_role(message) == "assistant" for message in messages):
        return
    if _role(messages[-1]) != "assistant":
        pointer = f"/messages/{len(messages) - 1}/role"
        yield Hit(pointer, messages[-1], "The last message must be the assistant's; add the answer or remove this one.")


@example_check("system_repeated", "warning", SECTION, formats=("chat",))
def system_repeated(row: dict[str, Any]) -> Iterator[Hit]:
    """A conversation has more than one system (or developer) message."""
    seen = False
    for pointer, message in messages_of(row):
        if message.get("role") in ("system", "developer"):
            if seen:
                yield Hit(f"{pointer}/role", message, "This is a second system message; join it with the first one.")
            seen = True


@example_check("system_not_first", "warning", SECTION, formats=("chat",))
def system_not_first(row: dict[str, Any]) -> Iterator[Hit]:
    """The system (or developer) message is not the first message."""
    messages = row.get("messages")
    if not isinstance(messages, list):
        return
    roles = [_role(message) for message in messages]
    first = next((index for index, role in enumerate(roles) if role in ("system", "developer")), 0)
    if first > 0:
        yield Hit(f"/messages/{first}/role", messages[first], "The system message comes after others; put it first.")


@example_check("user_missing", "warning", SECTION, formats=("chat",))
def user_missing(row: dict[str, Any]) -> Iterator[Hit]:
    """A conversation has no user message: an answer without a question teaches the model to speak unprompted."""
    messages = row.get("messages")
    if isinstance(messages, list) and messages and not any(_role(message) == "user" for message in messages):
        yield Hit("/messages", messages, "No message is from the user; add the question that the assistant answers.")


@example_check(
    "name_invalid", "error", SECTION, formats=("chat", "preference", "reinforcement"), needs=("name", "function")
)
def name_invalid(row: dict[str, Any]) -> Iterator[Hit]:
    """A name does not consist of 1 to 64 letters, digits, underscores or hyphens, or a `function` message has none."""
    for pointer, message in messages_of(row):
        name = message.get("name")
        if name is None:
            if message.get("role") == "function":
                yield Hit(f"{pointer}/name", message, "A function message needs the name of its function.")
        elif not isinstance(name, str) or not _NAME.fullmatch(name):
            yield Hit(f"{pointer}/name", name, "A name must be 1 to 64 letters, digits, underscores or hyphens.")


def _role(message: object) -> Any:
    return message.get("role") if isinstance(message, dict) else None


def _may_lack_content(message: dict[str, Any]) -> bool:
    return message.get("role") == "assistant" and any(
        message.get(key) for key in ("tool_calls", "function_call", "refusal", "audio")
    )


def _wrong_part(part: object) -> str | None:
    if not isinstance(part, dict):
        return "A part of content is an object with a type."
    kind = part.get("type")
    if not isinstance(kind, str) or kind not in _PART_TYPES:
        return f"The type of a part must be one of {', '.join(_PART_TYPES)}."
    if kind in ("text", "refusal") and not isinstance(part.get(kind), str):
        return f"A part of type {kind} needs a string in {kind}."
    return None
