"""Parses the assistant's message from an upstream's answer, into JSON that can be stored. Pure.

An upstream's answer is untrusted: missing fields are empty, and characters that cannot be stored are dropped.
"""

from typing import Any

import msgspec

from service import json_limits

MAX_MESSAGE_BYTES = 1 << 20
"""The largest message. The longest answers of today's models, 128,000 tokens, have about half of that."""

MAX_MESSAGE_VALUES = 10_000
"""The most JSON values of a message. One with 128 function calls, as many as there can be tools, has about 640."""

_CUT_CHARS = MAX_MESSAGE_BYTES // 4
_STORED_FIELDS = ("content", "refusal", "tool_calls", "function_call")


def parse_message(body: dict[str, Any]) -> tuple[dict[str, Any], str | None]:
    """The message of the first choice, of a chat or a legacy completion, and its finish reason.

    Of a message that exceeds a limit the start of its text is left, as if it had been cut at its limit of tokens.
    """
    choices = body.get("choices")
    first = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}
    answer = first.get("message")
    if not isinstance(answer, dict):
        answer = {"content": first["text"]} if isinstance(first.get("text"), str) else {}
    if not _is_storable(answer):
        text = answer.get("content")
        return {"role": "assistant", "content": storable(text[:_CUT_CHARS]) if isinstance(text, str) else ""}, "length"
    message = {name: storable(answer[name]) for name in _STORED_FIELDS if answer.get(name) is not None}
    reason = first.get("finish_reason")
    return {"role": "assistant", **message}, storable(reason) if isinstance(reason, str) else None


def _is_storable(message: dict[str, Any]) -> bool:
    try:
        encoded = msgspec.json.encode(message)
        json_limits.check(encoded, max_values=MAX_MESSAGE_VALUES)
    except (json_limits.JsonLimitExceeded, RecursionError, ValueError, TypeError):
        return False
    return len(encoded) <= MAX_MESSAGE_BYTES


def storable(value: Any) -> Any:
    """The value without U+0000 and unpaired surrogates."""
    match value:
        case str():
            return value.encode("utf-8", "replace").decode().replace("\0", "")
        case list():
            return [storable(each) for each in value]
        case dict():
            return {storable(name): storable(each) for name, each in value.items()}
        case _:
            return value
