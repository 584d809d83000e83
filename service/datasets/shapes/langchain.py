"""LangChain's messages: `{"type": "human", "data": {"content": …}}`, or serialised objects with `lc`, `id`, `kwargs`.

Source of the shape: LangChain's `messages_to_dict` and `dumpd`. `message_of` also reads role and content, since logs
contain either.
"""

from __future__ import annotations

from typing import Any

from service.datasets.shapes.building import any_object, call, example, no_place, objects, text_part, tool_result
from service.datasets.shapes.building import message as built
from service.datasets.shapes.registry import CannotConvert, Row, Shape, register

_ROLES = {
    "human": "user", "humanmessage": "user", "user": "user", "ai": "assistant", "aimessage": "assistant",
    "aimessagechunk": "assistant", "assistant": "assistant", "system": "system", "systemmessage": "system",
    "developer": "developer", "tool": "tool", "toolmessage": "tool", "humanmessagechunk": "user",
    "function": "function", "functionmessage": "function",
}  # fmt: skip
STRUCTURE = frozenset({"role", "type", "lc", "id"})


def is_message(value: Any) -> bool:
    """Whether a value is a message of LangChain (role and content alone are not)."""
    if not isinstance(value, dict):
        return False
    if isinstance(value.get("kwargs"), dict) and isinstance(value.get("id"), list):
        return True
    known = str(value.get("type")).lower() in _ROLES
    return known and "role" not in value and (isinstance(value.get("data"), dict) or "content" in value)


def message_of(value: Row) -> Row:
    """A chat message of a message in any of the three forms. Raises `CannotConvert`."""
    kind: Any
    if isinstance(value.get("kwargs"), dict) and isinstance(value.get("id"), list):
        fields, kind = value["kwargs"], value["id"][-1] if value["id"] else None
    elif isinstance(value.get("data"), dict):
        fields, kind = value["data"], value.get("type")
    else:
        fields, kind = value, value.get("role", value.get("type"))
    role = _ROLES.get(str(kind).lower())
    if kind is None:
        raise CannotConvert("a message says neither its role nor its type")
    if role is None:
        raise CannotConvert(f"a message of the unknown kind {str(kind)[:80]!r}")
    content = fields.get("content")
    if role == "tool":
        return tool_result(id=str(fields.get("tool_call_id")), content=_tool_text(content))
    made = built(role, _parts(content), _calls(fields))
    if isinstance(fields.get("name"), str):
        made["name"] = fields["name"]
    if isinstance(older := _extra(fields).get("function_call", fields.get("function_call")), dict):
        made["function_call"] = older
    return made


def _extra(fields: Row) -> Row:
    extra = fields.get("additional_kwargs")
    return extra if isinstance(extra, dict) else {}


def _calls(fields: Row) -> list[Row]:
    """Calls in LangChain's form (`name`, `args`), or as the provider sent them."""
    given = any_object(fields.get("tool_calls")) or any_object(_extra(fields).get("tool_calls"))
    made: list[Row] = []
    for each in given:
        function = each.get("function")
        function = function if isinstance(function, dict) else {"name": each.get("name"), "arguments": each.get("args")}
        made.append(call(id=str(each.get("id")), name=function.get("name"), arguments=function.get("arguments")))
    return made


def _parts(content: Any) -> list[Row]:
    if content is None or content == "":
        return []
    if isinstance(content, str):
        return [text_part(content)]
    made: list[Row] = []
    for part in content if isinstance(content, list) else [content]:
        match part:
            case str(text) | {"type": "text", "text": str(text)}:
                made.append(text_part(text))
            case {"type": "image_url", "image_url": str(url)}:
                made.append({"type": "image_url", "image_url": {"url": url}})
            case {"type": "image_url", "image_url": dict()}:
                made.append({"type": "image_url", "image_url": part["image_url"]})
            case {"type": "tool_use"}:
                pass
            case {"type": kind}:
                raise no_place(f"a part of type {kind}")
            case _:
                raise CannotConvert("the content of a message is neither a text nor a list of parts")
    return made


def _tool_text(content: Any) -> Any:
    texts = [part.get("text") for part in any_object(content)]
    return "\n".join(str(text) for text in texts) if texts and all(isinstance(text, str) for text in texts) else content


def _recognises(row: Row) -> bool:
    messages = row.get("messages")
    return isinstance(messages, list) and bool(messages) and is_message(messages[0])


def _convert(row: Row) -> list[Row]:
    tools = any_object(row.get("tools"))
    return example((message_of(each) for each in objects(row["messages"], "messages")), tools)


LANGCHAIN = register(
    Shape(
        name="langchain",
        title="LangChain",
        keys="`messages` with `type` and `data`, or with `lc` and `kwargs`",
        format="chat",
        recognises=_recognises,
        convert=_convert,
        structure=STRUCTURE,
    )
)
