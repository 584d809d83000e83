"""Rewrites `functions` and `function_call` as `tools` and `tool_calls`, which replaced them.

Source of both formats: OpenAI's API reference for chat completions. Each call gets an id that its answer repeats. A
malformed definition or call stays as it is, and its check reports it.
"""

from __future__ import annotations

from typing import Any

from service.datasets.checks.tools import holders
from service.datasets.parsing.formats import message_lists
from service.datasets.preparation.changes import Dropped, Refused
from service.datasets.preparation.fixes.messages import with_messages
from service.datasets.preparation.scratch import Row
from service.datasets.report_schema import Format


def functions_to_tools(row: Row, format: Format) -> Row | Dropped | Refused:
    """Rewrites definitions, calls and answers; a definition that is already declared as a tool is removed.

    A row that declares a name in two ways is refused: only a person knows which definition is right.
    """
    if format not in ("chat", "preference"):
        return row
    for pointer, holder in holders(row):
        twice = _declared_in_two_ways(holder)
        if twice is not None:
            return Refused(
                f"tools and functions declare {twice[:64]!r} in different ways; keep one of the two definitions"
            )
        declared = _with_functions_as_tools(holder)
        if declared is not None:
            row = {**row, "input": declared} if pointer else declared
    older = any(
        isinstance(message, dict) and isinstance(message.get("function_call"), dict)
        for _, messages in message_lists(row)
        for message in messages
    )
    if not older:
        return row
    taken = {
        call["id"]
        for _, messages in message_lists(row)
        for message in messages
        if isinstance(message, dict) and isinstance(message.get("tool_calls"), list)
        for call in message["tool_calls"]
        if isinstance(call, dict) and isinstance(call.get("id"), str)
    }
    return with_messages(row, _Calls(taken).converted)


def _with_functions_as_tools(holder: dict[str, Any]) -> dict[str, Any] | None:
    """The object with its functions among its tools; None if there are none to move."""
    functions, tools = holder.get("functions"), holder.get("tools")
    if not isinstance(functions, list) or not all(isinstance(function, dict) for function in functions):
        return None
    if tools is not None and not isinstance(tools, list):
        return None
    made = list(tools or [])
    names = [tool["function"].get("name") for tool in made if _is_tool(tool)]
    made += [{"type": "function", "function": each} for each in functions if each.get("name") not in names]
    rest = {key: value for key, value in holder.items() if key not in ("functions", "tools")}
    return {**rest, "tools": made} if made else rest


def _declared_in_two_ways(holder: dict[str, Any]) -> str | None:
    functions, tools = holder.get("functions"), holder.get("tools")
    if not isinstance(functions, list) or not isinstance(tools, list):
        return None
    declared = {
        name: tool["function"]
        for tool in tools
        if _is_tool(tool) and isinstance(name := tool["function"].get("name"), str)
    }
    for function in functions:
        name = function.get("name") if isinstance(function, dict) else None
        if isinstance(name, str) and declared.get(name, function) != function:
            return name
    return None


def _is_tool(tool: Any) -> bool:
    return isinstance(tool, dict) and isinstance(tool.get("function"), dict)


class _Calls:
    """Numbers the calls in order, and gives each id to the function message that follows the call."""

    def __init__(self, taken: set[str]) -> None:
        self._taken = taken
        self._number = 0

    def converted(self, messages: list[Any]) -> list[Any]:
        made: list[Any] = []
        open_id: str | None = None
        open_name: Any = None
        for message in messages:
            if not isinstance(message, dict):
                made.append(message)
                continue
            if isinstance(message.get("function_call"), dict):
                open_name = message["function_call"].get("name")
                message, open_id = self._as_tool_call(message)
            elif message.get("role") == "function" and open_id is not None:
                own = ("role", "content", "name") if message.get("name") == open_name else ("role", "content")
                rest = {key: value for key, value in message.items() if key not in own}
                message = {"role": "tool", "tool_call_id": open_id, "content": message.get("content"), **rest}
                open_id = None
            made.append(message)
        return made

    def _as_tool_call(self, message: dict[str, Any]) -> tuple[dict[str, Any], str]:
        call_id = self._next_id()
        call = {"id": call_id, "type": "function", "function": message["function_call"]}
        calls = message.get("tool_calls") if isinstance(message.get("tool_calls"), list) else []
        rest = {key: value for key, value in message.items() if key not in ("function_call", "tool_calls")}
        return {**rest, "tool_calls": [*(calls or []), call]}, call_id

    def _next_id(self) -> str:
        while True:
            self._number += 1
            call_id = f"call_{self._number}"
            if call_id not in self._taken:
                return call_id
