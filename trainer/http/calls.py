"""Function calls in a model's answer, as OpenAI's messages show them."""

from typing import Any

from ..engines.port import Model


def message_of(model: Model, text: str, *, older: bool) -> dict[str, Any]:
    """An answer as a message with its text, or with `tool_calls` if the model made calls.

    `older` is for requests with `functions`: their answer has one `function_call`.
    """
    content, calls = model.tool_calls(text)
    message: dict[str, Any] = {"role": "assistant", "content": content, "refusal": None}
    if not calls:
        return message
    return message | ({"function_call": calls[0]["function"]} if older else {"tool_calls": calls})


def finish_reason(message: dict[str, Any], finished: str) -> str:
    """Why an answer ended, as OpenAI names it."""
    if finished != "stop":
        return finished
    return "tool_calls" if "tool_calls" in message else "function_call" if "function_call" in message else finished
