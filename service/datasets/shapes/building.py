"""Builds chat examples of the pieces that other formats have: texts, images, calls of tools and their results."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from service.datasets.shapes.registry import CannotConvert, Row

_IMAGE_TYPES = ("image/jpeg", "image/png", "image/webp", "image/gif")


def text_part(text: str) -> Row:
    """A part of a content that is text."""
    return {"type": "text", "text": text}


def image_part(*, url: str | None = None, mime_type: str = "", base64: str = "") -> Row:
    """A part of a content that is an image: a web address, or its bytes in base64.

    Raises `CannotConvert` for another kind of file, and for an address that an upstream cannot read.
    """
    if url is None:
        if mime_type not in _IMAGE_TYPES:
            kind = mime_type[:80] or "unknown"
            raise CannotConvert(f"it contains a file of type {kind}; only images can be converted")
        return {"type": "image_url", "image_url": {"url": f"data:{mime_type};base64,{base64}"}}
    if not url.startswith(("https://", "http://", "data:image/")):
        raise CannotConvert(
            f"the image {url[:80]} cannot be read from outside its storage; give its bytes, or an https address"
        )
    return {"type": "image_url", "image_url": {"url": url}}


def content_of(parts: list[Row]) -> str | list[Row] | None:
    """The content of a message: a string for one text, the parts for several or for images, None without parts."""
    if not parts:
        return None
    if len(parts) == 1 and parts[0]["type"] == "text":
        text: str = parts[0]["text"]
        return text
    return parts


def call(*, id: str, name: Any, arguments: Any) -> Row:
    """A call of a tool. Arguments that are an object become the JSON text that the format needs."""
    if not isinstance(name, str):
        raise CannotConvert("a call of a tool has no name")
    text = arguments if isinstance(arguments, str) else json.dumps(arguments or {}, ensure_ascii=False)
    return {"id": id, "type": "function", "function": {"name": name, "arguments": text}}


def tool_result(*, id: str, content: Any) -> Row:
    """A message with the result of a call; a result that is no text becomes JSON text."""
    text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
    return {"role": "tool", "tool_call_id": id, "content": text}


def message(role: str, parts: list[Row], calls: list[Row] | None = None) -> Row:
    """A message of parts and calls. Raises `CannotConvert` for images outside the user's messages."""
    if role != "user" and any(part["type"] != "text" for part in parts):
        raise CannotConvert(f"a message of the {role} contains an image, which only a user's message can")
    made: Row = {"role": role, "content": content_of(parts)}
    if calls:
        made["tool_calls"] = calls
        if made["content"] is None:
            del made["content"]
    elif made["content"] is None:
        made["content"] = ""
    return made


def function_tool(*, name: Any, description: Any, parameters: Any, strict: Any = None) -> Row:
    """The definition of a tool; parts that are None are left out."""
    given = {"name": name, "description": description, "parameters": parameters, "strict": strict}
    return {"type": "function", "function": {key: value for key, value in given.items() if value is not None}}


def example(messages: Iterable[Row], tools: list[Row] | None = None) -> list[Row]:
    """One chat example of messages. Raises `CannotConvert` where the assistant says nothing."""
    made = list(messages)
    if not any(each["role"] == "assistant" for each in made):
        raise CannotConvert("it contains no answer of the assistant")
    return [{"messages": made, **({"tools": tools} if tools else {})}]


def no_place(what: object) -> CannotConvert:
    """The refusal of something that a chat example has no place for."""
    return CannotConvert(f"it contains {str(what)[:120]}, which a chat example has no place for; remove or replace it")


def objects(value: Any, name: str) -> list[Row]:
    """A list of objects, such as messages or parts. Raises `CannotConvert` with its name for anything else."""
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise CannotConvert(f"`{name}` is not a list of objects")
    return value


def text_in(value: Any, name: str) -> str:
    """A value that must be a text. Raises `CannotConvert` with its name otherwise."""
    if not isinstance(value, str):
        raise CannotConvert(f"`{name}` is not a text")
    return value


def any_object(value: Any) -> list[Row]:
    """The objects of a list; nothing for a value that is no list. For recognising, which never fails."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
