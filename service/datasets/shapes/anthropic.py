"""Anthropic: Messages with blocks (`tool_use`, `tool_result`, `image`), and the older Human and Assistant text.

Source of the shape: Anthropic's Messages API, and its retired Text Completions API. A Messages row whose contents are
texts alone is a chat row already, and has no shape. A thinking block is refused: it is text that would either be lost
or become a part of the answer.
"""

from __future__ import annotations

import re
from typing import Any

from service.datasets.shapes.building import (
    any_object,
    call,
    content_of,
    example,
    function_tool,
    image_part,
    message,
    no_place,
    objects,
    text_in,
    text_part,
    tool_result,
)
from service.datasets.shapes.registry import CannotConvert, Row, Shape, register

_BLOCKS = frozenset({"tool_use", "tool_result", "image", "thinking", "redacted_thinking", "document"})
_SPEAKER = re.compile(r"\b(?:Human|Assistant):")
_TURN = re.compile(r"(?:\A|\n\n)\s*(Human|Assistant): ?")


def _blocks(row: Row) -> list[Row]:
    turns = [each for each in any_object(row.get("messages")) if "role" in each]
    return [block for each in turns for block in any_object(each.get("content"))]


def _recognises(row: Row) -> bool:
    if "messages" not in row:
        return False
    if any("input_schema" in tool for tool in any_object(row.get("tools"))):
        return True
    return any(str(block.get("type")) in _BLOCKS for block in _blocks(row))


def _convert(row: Row) -> list[Row]:
    made: list[Row] = []
    system = row.get("system")
    if isinstance(system, str) and system:
        made.append(message("system", [text_part(system)]))
    elif isinstance(system, list) and system:
        made.append(message("system", [_text(block) for block in objects(system, "system")]))
    elif system:
        raise CannotConvert("`system` is neither a text nor a list of texts")
    for turn in objects(row.get("messages"), "messages"):
        made.extend(_messages(turn))
    tools = [
        tool
        if "function" in tool
        else function_tool(
            name=tool.get("name"), description=tool.get("description"), parameters=tool.get("input_schema")
        )
        for tool in any_object(row.get("tools"))
    ]
    return example(made, tools)


def _messages(turn: Row) -> list[Row]:
    """The messages of one turn: results of tools, which a user's turn contains, come first."""
    role = turn.get("role")
    if role not in ("user", "assistant", "system"):
        raise CannotConvert(f"the role {str(role)[:80]!r} is neither user nor assistant")
    content = turn.get("content")
    if isinstance(content, str):
        return [message(role, [text_part(content)])]
    results: list[Row] = []
    parts: list[Row] = []
    calls: list[Row] = []
    for block in objects(content, "content"):
        match block.get("type"):
            case "text":
                parts.append(_text(block))
            case "image":
                parts.append(_image(block.get("source")))
            case "tool_use":
                calls.append(call(id=str(block.get("id")), name=block.get("name"), arguments=block.get("input")))
            case "tool_result":
                if parts:
                    raise CannotConvert("a tool_result stands after other blocks of its message; put it first")
                results.append(tool_result(id=str(block.get("tool_use_id")), content=_result(block.get("content"))))
            case kind:
                raise no_place(f"a block of type {kind}")
    return [*results, message(role, parts, calls)] if parts or calls or not results else results


def _text(block: Row) -> Row:
    return text_part(text_in(block.get("text"), "text"))


def _image(source: Any) -> Row:
    match source:
        case {"type": "base64", "media_type": str(mime_type), "data": str(data)}:
            return image_part(mime_type=mime_type, base64=data)
        case {"type": "url", "url": str(url)}:
            return image_part(url=url)
    raise CannotConvert("an image has neither its bytes nor an address")


def _result(content: Any) -> Any:
    if content is None or isinstance(content, str):
        return content or ""
    parts = objects(content, "tool_result.content")
    if any(part.get("type") != "text" for part in parts):
        raise CannotConvert("the result of a tool contains an image or a file, which only a user's message can")
    made = content_of([_text(part) for part in parts])
    return made if isinstance(made, str) else "\n".join(part["text"] for part in parts)


def _dialogue(row: Row) -> str | None:
    """The text of a dialogue, with its last answer."""
    prompt, completion = row.get("prompt"), row.get("completion")
    if isinstance(prompt, str) and isinstance(completion, str):
        text = prompt + completion
    elif isinstance(row.get("text"), str):
        text = row["text"]
    else:
        return None
    return text if "Human:" in text[:2_000] and re.search(r"\n\nAssistant:", text) else None


def _recognises_text(row: Row) -> bool:
    return _dialogue(row) is not None


def _recognises_text_only(row: Row) -> bool:
    return "prompt" not in row and "completion" not in row and _recognises_text(row)


def _convert_text(row: Row) -> list[Row]:
    pieces = _TURN.split(_dialogue(row) or "")
    made = [message("system", [text_part(pieces[0].strip())])] if pieces[0].strip() else []
    for speaker, text in zip(pieces[1::2], pieces[2::2], strict=True):
        made.append(message("user" if speaker.startswith("H") else "assistant", [text_part(text.strip())]))
    return example(made)


ANTHROPIC = register(
    Shape(
        name="anthropic",
        title="Anthropic Messages",
        keys="`messages` with blocks such as `tool_use` and `image`, or tools with `input_schema`",
        format="chat",
        recognises=_recognises,
        convert=_convert,
        structure=frozenset({"role", "type", "media_type"}),
    )
)

ANTHROPIC_TEXT = register(
    Shape(
        name="anthropic_text",
        title="Anthropic's older text",
        keys="a `text` of turns that begin with Human: and Assistant:",
        format="chat",
        recognises=_recognises_text_only,
        convert=_convert_text,
        markers=_SPEAKER,
    )
)

HUMAN_ASSISTANT = register(
    Shape(
        name="human_assistant",
        title="Anthropic's older completions",
        keys="`prompt` and `completion`, with turns that begin with Human: and Assistant:",
        format="chat",
        recognises=_recognises_text,
        convert=_convert_text,
        markers=_SPEAKER,
        only_by_name=True,
    )
)
