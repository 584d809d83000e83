"""What an upstream has said, read off its answer, as it can be kept. Pure.

An answer is another's program's: whatever is missing is empty, and what no database or file can hold is left out.
"""

from typing import Any

_KEPT = ("content", "refusal", "tool_calls", "function_call")


def message_of(body: dict[str, Any]) -> tuple[dict[str, Any], str | None]:
    """The first choice's message, of a chat or a legacy completion, and why it ended."""
    choices = body.get("choices")
    first = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}
    said = first.get("message")
    if isinstance(said, dict):
        message = {name: _storable(said[name]) for name in _KEPT if said.get(name) is not None}
    else:
        message = {"content": _storable(first["text"])} if isinstance(first.get("text"), str) else {}
    reason = first.get("finish_reason")
    return {"role": "assistant", **message}, _storable(reason) if isinstance(reason, str) else None


def _storable(value: Any) -> Any:
    """Without U+0000 and halves of surrogate pairs."""
    match value:
        case str():
            return value.encode("utf-8", "replace").decode().replace("\0", "")
        case list():
            return [_storable(each) for each in value]
        case dict():
            return {_storable(name): _storable(each) for name, each in value.items()}
        case _:
            return value
