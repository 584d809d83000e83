"""OpenAI's Responses API: `instructions`, `input` and `output` of items, and messages with `input_text` parts.

Source of the shape: the reference of OpenAI's Responses API, and the logs of it that OpenAI's dashboard exports.
"""

from __future__ import annotations

from typing import Any

from service.datasets.shapes.building import (
    any_object,
    call,
    example,
    function_tool,
    image_part,
    message,
    no_place,
    objects,
    text_part,
    tool_result,
)
from service.datasets.shapes.registry import CannotConvert, Row, Shape, register

_ITEMS = frozenset({"message", "function_call", "function_call_output", "reasoning", "item_reference"})
_PARTS = frozenset({"input_text", "output_text", "input_image", "input_file"})


def _is_item(item: Row) -> bool:
    return str(item.get("type")) in _ITEMS or ("role" in item and "content" in item)


def _recognises(row: Row) -> bool:
    if "messages" in row:
        parts = [part for each in any_object(row["messages"]) for part in any_object(each.get("content"))]
        return any(str(part.get("type")) in _PARTS for part in parts)
    answer = any(str(item.get("type")) in _ITEMS for item in any_object(row.get("output")))
    given = any(_is_item(item) for item in any_object(row.get("input")))
    typed = any(str(item.get("type")) in _ITEMS or _has_parts(item) for item in any_object(row.get("input")))
    return (answer and (given or isinstance(row.get("input"), str))) or (given and ("instructions" in row or typed))


def _has_parts(item: Row) -> bool:
    return any(str(part.get("type")) in _PARTS for part in any_object(item.get("content")))


def _convert(row: Row) -> list[Row]:
    made: list[Row] = []
    instructions = row.get("instructions")
    if isinstance(instructions, str) and instructions:
        made.append(message("system", [text_part(instructions)]))
    given = row.get("messages", row.get("input"))
    if isinstance(given, str):
        given = [{"role": "user", "content": given}]
    output = row.get("output", [])
    if isinstance(output, str):
        output = [{"role": "assistant", "content": output}]
    for item in [*objects(given, "input"), *objects(output, "output")]:
        _add(made, item)
    tools = [
        tool
        if isinstance(tool.get("function"), dict)
        else function_tool(
            name=tool.get("name"),
            description=tool.get("description"),
            parameters=tool.get("parameters"),
            strict=tool.get("strict"),
        )
        for tool in any_object(row.get("tools"))
        if tool.get("type") == "function"
    ]
    return example(made, tools)


def _add(made: list[Row], item: Row) -> None:
    match item.get("type", "message"):
        case "message":
            made.append(_message(item))
        case "function_call":
            called = call(id=str(item.get("call_id")), name=item.get("name"), arguments=item.get("arguments"))
            if made and made[-1]["role"] == "assistant":
                made[-1].setdefault("tool_calls", []).append(called)
            else:
                made.append({"role": "assistant", "tool_calls": [called]})
        case "function_call_output":
            made.append(tool_result(id=str(item.get("call_id")), content=item.get("output")))
        case "reasoning" if not item.get("summary") and not item.get("content"):
            pass
        case kind:
            raise no_place(f"an item of type {kind}")


def _message(item: Row) -> Row:
    role, content = item.get("role"), item.get("content")
    if role not in ("system", "developer", "user", "assistant"):
        raise CannotConvert(f"the role {str(role)[:80]!r} is none of system, developer, user and assistant")
    if isinstance(content, str):
        return message(role, [text_part(content)])
    return message(role, [_part(part) for part in objects(content, "content")])


def _part(part: Row) -> Row:
    match part:
        case {"type": "input_text" | "output_text" | "text", "text": str(text)}:
            return text_part(text)
        case {"type": "refusal", "refusal": str(text)}:
            return text_part(text)
        case {"type": "input_image", "image_url": str(url)}:
            return _with_detail(image_part(url=url), part.get("detail"))
        case {"type": "image_url"}:
            return part
    raise no_place(f"a part of type {part.get('type')}")


def _with_detail(part: Row, detail: Any) -> Row:
    if detail is not None:
        part["image_url"]["detail"] = detail
    return part


OPENAI_RESPONSES = register(
    Shape(
        name="openai_responses",
        title="OpenAI's Responses API",
        keys="`input` and `output` of items, or messages with `input_text`",
        format="chat",
        recognises=_recognises,
        convert=_convert,
        structure=frozenset({"role", "type"}),
    )
)
