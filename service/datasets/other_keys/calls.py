"""Calls and definitions of tools under other names, or inside a message: `tool_call`, `function_calls`, `tools`."""

from __future__ import annotations

import json
from typing import Any

from service.datasets.other_keys.moving import Moving
from service.datasets.other_keys.names import plain_name
from service.datasets.parsing.formats import calls_of

_CALL_NAMES = frozenset({"tool_call", "function_calls", "functions_calls", "toolcalls", "tools_calls"})
NAMES = _CALL_NAMES | {"tools", "functions"}
_ARGUMENTS = ("arguments", "args", "parameters", "input")


def move_calls(moving: Moving) -> None:
    """Calls become `tool_calls`. Each gets an id if it has none, which the next tool messages without an id repeat."""
    ids = _Ids(moving)
    for _, message in moving.messages():
        for key in [key for key in message if plain_name(key) in _CALL_NAMES and key != "tool_calls"]:
            calls = _calls(message[key], ids)
            pointer = ids.pointers[id(message)]
            if not message[key]:
                continue
            if calls is None:
                moving.cannot(pointer, key, "it is not a call with a name and arguments")
            elif message.get("tool_calls"):
                moving.cannot(pointer, key, "the message has tool_calls too")
            elif message.get("role") != "assistant":
                moving.cannot(pointer, key, "only assistant messages can call tools")
            else:
                moving.moved(message, pointer, key, "tool_calls")
                message["tool_calls"] = calls
                message.setdefault("content", None)
                ids.open += [call["id"] for call in calls]
        if message.get("role") == "tool" and message.get("tool_call_id") is None and ids.open:
            message["tool_call_id"] = ids.open.pop(0)


def move_definitions(moving: Moving) -> None:
    """Definitions inside a message, or written as a text of JSON, become the row's `tools` or `functions`."""
    holder_pointer, holder = moving.main
    for pointer, message in [*moving.messages(), ("", moving.row), (holder_pointer, holder)]:
        for key in [key for key in message if key in ("tools", "functions")]:
            beside = message is holder
            if beside and not isinstance(message[key], str):
                continue
            found = _definitions(message[key])
            if not message[key]:
                continue
            if found is None:
                if not beside:
                    moving.cannot(pointer, key, "it is not a list of definitions")
                continue
            name = "tools" if all("function" in each for each in found) else "functions"
            present = None if beside else holder.get("tools") or holder.get("functions")
            if present not in (None, found):
                moving.cannot(pointer, key, "the row has other definitions")
                continue
            moving.moved(message, pointer, key, f"the row's {name}")
            holder[name] = found


class _Ids:
    def __init__(self, moving: Moving) -> None:
        self.pointers = {id(message): pointer for pointer, message in moving.messages()}
        self.open: list[str] = []
        self._taken = {
            call.get("id") for _, each in moving.messages() for _, _, call in calls_of(each) if call is not None
        }
        self._number = 0

    def next(self) -> str:
        while True:
            self._number += 1
            name = f"call_{self._number}"
            if name not in self._taken:
                return name


def _calls(value: Any, ids: _Ids) -> list[dict[str, Any]] | None:
    items = value if isinstance(value, list) else [value]
    made = [_call(item, ids) for item in items]
    calls = [call for call in made if call is not None]
    return calls if calls and len(calls) == len(made) else None


def _call(value: Any, ids: _Ids) -> dict[str, Any] | None:
    if not isinstance(value, dict):
        return None
    function = value.get("function", value)
    beside = set(value) - {"id", "type", "function"} if function is not value else set()
    if value.get("type", "function") != "function":
        return None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str) or beside:
        return None
    keys = [key for key in _ARGUMENTS if key in function]
    if len(keys) > 1 or set(function) - {"name", "id", "type", *keys}:
        return None
    arguments = function[keys[0]] if keys else "{}"
    if not isinstance(arguments, str):
        arguments = json.dumps(arguments, ensure_ascii=False)
    given = value.get("id")
    call_id = given if isinstance(given, str) and given else ids.next()
    return {"id": call_id, "type": "function", "function": {"name": function["name"], "arguments": arguments}}


def _definitions(value: Any) -> list[dict[str, Any]] | None:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return None
    items = value if isinstance(value, list) else [value]
    definitions = [each for each in items if isinstance(each, dict) and ("name" in each or "function" in each)]
    if not items or len(definitions) < len(items) or len({"function" in each for each in definitions}) > 1:
        return None
    return [
        {"type": "function", **each}
        if "function" in each
        else {key: inner for key, inner in each.items() if key != "type" or inner != "function"}
        for each in definitions
    ]
