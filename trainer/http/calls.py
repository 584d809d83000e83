"""Function calls in a model's answer: the model learns them as the JSON of the training files."""

from typing import Any

import msgspec


def message_of(text: str) -> dict[str, Any]:
    """An answer as a message: with `tool_calls` or the older `function_call` if the whole answer is such JSON,
    otherwise with its text."""
    called = _called(text)
    if called is None:
        return {"role": "assistant", "content": text, "refusal": None}
    return {"role": "assistant", "content": None, "refusal": None, **called}


def may_be_calls(text: str) -> bool:
    """Whether the beginning of an answer may turn out to be calls."""
    return not text or text.startswith(("[", "{"))


def finish_reason(message: dict[str, Any], finished: str) -> str:
    """Why an answer ended, as OpenAI names it."""
    if finished != "stop":
        return finished
    return "tool_calls" if "tool_calls" in message else "function_call" if "function_call" in message else finished


def _called(text: str) -> dict[str, Any] | None:
    if not text or not may_be_calls(text):
        return None
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
    if isinstance(value, dict):
        return {"function_call": _function(value)} if _is_function(value) else None
    if not value or not all(isinstance(each, dict) and _is_function(each.get("function")) for each in value):
        return None
    calls = [
        {"id": str(each.get("id") or f"call_{place}"), "type": "function", "function": _function(each["function"])}
        for place, each in enumerate(value, start=1)
    ]
    return {"tool_calls": calls}


def _is_function(value: object) -> bool:
    return (
        isinstance(value, dict)
        and value.keys() == {"name", "arguments"}
        and all(isinstance(each, str) for each in value.values())
    )


def _function(value: dict[str, Any]) -> dict[str, str]:
    return {"name": value["name"], "arguments": value["arguments"]}
