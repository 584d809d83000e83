"""Parses the assistant's message from an upstream's answer, into JSON that can be stored. Pure.

An upstream's answer is untrusted: missing fields are empty, and characters that cannot be stored are dropped.
"""

from typing import Any

_STORED_FIELDS = ("content", "refusal", "tool_calls", "function_call")


def parse_message(body: dict[str, Any]) -> tuple[dict[str, Any], str | None]:
    """The message of the first choice, of a chat or a legacy completion, and its finish reason."""
    choices = body.get("choices")
    first = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}
    answer = first.get("message")
    if isinstance(answer, dict):
        message = {name: _storable(answer[name]) for name in _STORED_FIELDS if answer.get(name) is not None}
    else:
        message = {"content": _storable(first["text"])} if isinstance(first.get("text"), str) else {}
    reason = first.get("finish_reason")
    return {"role": "assistant", **message}, _storable(reason) if isinstance(reason, str) else None


def _storable(value: Any) -> Any:
    """The value without U+0000 and unpaired surrogates."""
    match value:
        case str():
            return value.encode("utf-8", "replace").decode().replace("\0", "")
        case list():
            return [_storable(each) for each in value]
        case dict():
            return {_storable(name): _storable(each) for name, each in value.items()}
        case _:
            return value
