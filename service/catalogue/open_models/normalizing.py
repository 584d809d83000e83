"""The form in which messages and tools of OpenAI's API are given to a chat template. Pure.

Templates agree on few things: `role` is system, user, assistant or tool, `content` is a string, `tool_calls` have
`function.name` and `function.arguments`. Therefore, and in this order:

1. A message has only `role`, `content`, `name`, `tool_calls`, `tool_call_id` and `reasoning_content`; `weight`,
   `refusal`, `audio` and all else is left out, and so is a field whose value is null.
2. The role `developer` becomes `system`, the older `function` becomes `tool`.
3. Content that is a list of parts becomes their texts, joined without a separator (a part's `text`, or its `refusal`).
   A message's `refusal` stands for its content where that is empty. Missing or null content becomes "".
4. The older `function_call` becomes one entry of `tool_calls`. Each call has `type: function`, then its `id` if it has
   one, then `function` with `name` and `arguments`: the object that their JSON text has, or a text that is no object.
5. The older `functions` become `tools`; each tool is `{"type": "function", "function": {...}}` as the caller wrote it.

`trainer/engines/llm/` follows the same rule, since counts have to be those of what is trained on; a test compares them.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

_KEPT = ("name", "tool_call_id", "reasoning_content")
_ROLES = {"developer": "system", "function": "tool"}


class NotAMessage(Exception):
    """A message or a content has no form that a template could render. The argument says what."""


class NotText(NotAMessage):
    """A content has a part that is not text, such as an image."""


def normalized_messages(messages: object) -> list[dict[str, Any]]:
    """Messages by the rule above. Raises `NotAMessage`, also for images."""
    if not isinstance(messages, Sequence) or isinstance(messages, str):
        raise NotAMessage("its messages are not a list")
    return [_message(each) for each in messages]


def normalized_tools(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The tools of a row, or of a preference row's input, by the rule above."""
    tools, functions = row.get("tools"), row.get("functions")
    given = [tool for tool in tools if isinstance(tool, dict)] if isinstance(tools, list) else []
    return given + (normalized_definitions(functions) if isinstance(functions, list) else [])


def normalized_definitions(definitions: Sequence[object]) -> list[dict[str, Any]]:
    """Function definitions as tools."""
    return [{"type": "function", "function": each} for each in definitions if isinstance(each, dict)]


def _message(message: object) -> dict[str, Any]:
    if not isinstance(message, Mapping):
        raise NotAMessage("a message is not an object")
    role = message.get("role")
    if not isinstance(role, str):
        raise NotAMessage("a message has no role")
    content = _content(message.get("content"))
    refusal = message.get("refusal")
    if not content and isinstance(refusal, str):
        content = refusal
    made: dict[str, Any] = {"role": _ROLES.get(role, role), "content": content}
    made.update({key: message[key] for key in _KEPT if isinstance(message.get(key), str)})
    if calls := _calls(message):
        made["tool_calls"] = calls
    return made


def _content(content: object) -> str:
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise NotAMessage("a content is neither a text nor a list of parts")
    return "".join(map(_part, content))


def _part(part: object) -> str:
    if isinstance(part, str):
        return part
    if isinstance(part, dict):
        for key in ("text", "refusal"):
            if isinstance(part.get(key), str):
                return str(part[key])
        raise NotText(f"a content has a part of type {str(part.get('type'))[:40]!r}, and the model reads text only")
    raise NotAMessage("a part of a content is not an object")


def _calls(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    calls = message.get("tool_calls")
    if isinstance(calls, list) and calls:
        return [_call(each.get("function"), each.get("id")) for each in calls if isinstance(each, dict)]
    older = message.get("function_call")
    return [_call(older, None)] if isinstance(older, dict) else []


def _call(function: object, id: object) -> dict[str, Any]:
    if not isinstance(function, dict):
        raise NotAMessage("a tool call has no function")
    made: dict[str, Any] = {"type": "function"}
    if isinstance(id, str):
        made["id"] = id
    made["function"] = {"name": function.get("name"), "arguments": _arguments(function.get("arguments"))}
    return made


def _arguments(arguments: object) -> object:
    if not isinstance(arguments, str):
        return arguments if arguments is not None else {}
    try:
        value = json.loads(arguments)
    except (ValueError, RecursionError):
        return arguments
    return value if isinstance(value, dict) else arguments
