"""The form in which messages and tools of OpenAI's API are given to a chat template. Pure.

Templates agree on few things: `role` is system, user, assistant or tool, `content` is a string, `tool_calls` have
`function.name` and `function.arguments`. The rule, in order:

1. A message has only `role`, `content`, `name`, `tool_calls`, `tool_call_id` and `reasoning_content`; all else is left
   out, and so is a field whose value is null.
2. The role `developer` becomes `system`, the older `function` becomes `tool`.
3. Content that is a list of parts becomes their texts, joined without a separator (a part's `text`, or its `refusal`).
   A message's `refusal` stands for its content where that is empty. Missing or null content becomes "".
4. The older `function_call` becomes one entry of `tool_calls`. Each call has `type: function`, its `id` if it has one,
   and `function` with `name` and `arguments`: the object that their JSON text has, or a text that is no object.

The gateway counts tokens by the same rule (`service/catalogue/open_models/`), and a test compares the two.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

_COPIED = ("name", "tool_call_id", "reasoning_content")
_ROLES = {"developer": "system", "function": "tool"}


class NotRendered(ValueError):
    """A conversation that the model's chat template cannot render; the text says why."""


def template_messages(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Messages by the rule above. Raises NotRendered for an image or another part that is no text."""
    return [_message(f"messages[{index}]", message) for index, message in enumerate(messages)]


def _message(where: str, message: Mapping[str, Any]) -> dict[str, Any]:
    role = str(message.get("role"))
    content = _content(where, message.get("content"))
    refusal = message.get("refusal")
    if not content and isinstance(refusal, str):
        content = refusal
    made: dict[str, Any] = {"role": _ROLES.get(role, role), "content": content}
    made.update({name: message[name] for name in _COPIED if isinstance(message.get(name), str)})
    calls = _calls(where, message)
    return {**made, "tool_calls": calls} if calls else made


def _content(where: str, content: object) -> str:
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise NotRendered(f"{where}.content must be a string or a list of parts")
    return "".join(_part(where, part) for part in content)


def _part(where: str, part: object) -> str:
    if isinstance(part, str):
        return part
    if isinstance(part, dict):
        for name in ("text", "refusal"):
            if isinstance(part.get(name), str):
                return str(part[name])
        kind = str(part.get("type"))[:40]
        raise NotRendered(f"{where}.content has a part of the type {kind!r}, and this model reads text only; remove it")
    raise NotRendered(f"{where}.content has a part that is not an object")


def _calls(where: str, message: Mapping[str, Any]) -> list[dict[str, Any]]:
    calls = message.get("tool_calls")
    if isinstance(calls, list) and calls:
        return [_call(where, each.get("function"), each.get("id")) for each in calls if isinstance(each, dict)]
    older = message.get("function_call")
    return [_call(where, older, None)] if isinstance(older, dict) else []


def _call(where: str, function: object, id: object) -> dict[str, Any]:
    if not isinstance(function, dict):
        raise NotRendered(f"{where}.tool_calls has a call without a function")
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
