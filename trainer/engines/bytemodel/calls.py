"""Function calls in the byte model's answers: it learns them as the JSON of the training files."""

from typing import Any

import msgspec


def split_calls(text: str) -> tuple[str | None, list[dict[str, object]]]:
    """An answer as its text and no calls, or as no text and OpenAI's `tool_calls` if the whole answer is such JSON.

    The older `function_call` is a call too.
    """
    calls = _calls(text)
    return (None, calls) if calls else (text, [])


def may_be_calls(beginning: str) -> bool:
    """Whether the beginning of an answer may turn out to be calls."""
    return not beginning or beginning.startswith(("[", "{"))


def _calls(text: str) -> list[dict[str, object]]:
    if not text or not may_be_calls(text):
        return []
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return []
    calls = [{"function": value}] if isinstance(value, dict) else value
    if not all(isinstance(each, dict) and _is_function(each.get("function")) for each in calls):
        return []
    return [_call(place, each) for place, each in enumerate(calls, start=1)]


def _is_function(value: object) -> bool:
    return (
        isinstance(value, dict)
        and value.keys() == {"name", "arguments"}
        and all(isinstance(each, str) for each in value.values())
    )


def _call(place: int, given: dict[str, Any]) -> dict[str, object]:
    function = {"name": given["function"]["name"], "arguments": given["function"]["arguments"]}
    return {"id": str(given.get("id") or f"call_{place}"), "type": "function", "function": function}
