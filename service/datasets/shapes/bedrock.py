"""Amazon Bedrock: conversations (`schemaVersion`, `system`, `messages` with untyped parts), and texts with a system.

Source of the shape: Bedrock's guides to preparing data for model customisation (Nova, Llama, Claude 3 Haiku, Titan)
and its Converse API.
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
    text_in,
    text_part,
    tool_result,
)
from service.datasets.shapes.registry import CannotConvert, Row, Shape, register

_PARTS = frozenset({"text", "image", "toolUse", "toolResult", "video", "document", "reasoningContent", "audio"})


def _recognises(row: Row) -> bool:
    if "messages" not in row:
        return False
    version = row.get("schemaVersion")
    if isinstance(version, str) and version.startswith("bedrock-conversation"):
        return True
    parts = [part for each in any_object(row["messages"]) for part in any_object(each.get("content"))]
    return bool(parts) and all("type" not in part and len(part) == 1 and part.keys() <= _PARTS for part in parts)


def _convert(row: Row) -> list[Row]:
    made: list[Row] = []
    system = row.get("system")
    if isinstance(system, str) and system:
        made.append(message("system", [text_part(system)]))
    elif system:
        parts = [text_part(text_in(part.get("text"), "text")) for part in objects(system, "system")]
        made.append(message("system", parts))
    for turn in objects(row.get("messages"), "messages"):
        made.extend(_messages(turn))
    return example(made, _tools(row))


def _messages(turn: Row) -> list[Row]:
    role = turn.get("role")
    if role not in ("user", "assistant", "system"):
        raise CannotConvert(f"the role {str(role)[:80]!r} is neither user nor assistant")
    content = turn.get("content")
    if isinstance(content, str):
        return [message(role, [text_part(content)])]
    results: list[Row] = []
    parts: list[Row] = []
    calls: list[Row] = []
    for part in objects(content, "content"):
        match part:
            case {"text": str(text)}:
                parts.append(text_part(text))
            case {"image": {"format": str(format), "source": dict(source)}}:
                parts.append(_image(format, source))
            case {"toolUse": dict(use)}:
                calls.append(call(id=str(use.get("toolUseId")), name=use.get("name"), arguments=use.get("input")))
            case {"toolResult": dict(result)}:
                if parts:
                    raise CannotConvert("a toolResult stands after other parts of its message; put it first")
                results.append(tool_result(id=str(result.get("toolUseId")), content=_result(result)))
            case {"cachePoint": _}:
                pass
            case _:
                raise no_place(f"a part with `{next(iter(part), 'nothing')}`")
    return [*results, message(role, parts, calls)] if parts or calls or not results else results


def _image(format: str, source: Row) -> Row:
    data = source.get("bytes")
    if isinstance(data, str):
        return image_part(mime_type=f"image/{format.replace('jpg', 'jpeg')}", base64=data)
    location = source.get("s3Location")
    return image_part(url=str(location.get("uri") if isinstance(location, dict) else source.get("uri")))


def _result(result: Row) -> Any:
    parts = objects(result.get("content") or [], "toolResult.content")
    for part in parts:
        if not part.keys() & {"text", "json"}:
            raise CannotConvert("the result of a tool contains an image or a file, which only a user's message can")
    values = [part["json"] if "json" in part else part["text"] for part in parts]
    if len(values) == 1:
        return values[0]
    return "\n".join(values) if all(isinstance(value, str) for value in values) else values


def _tools(row: Row) -> list[Row]:
    config = row.get("toolConfig")
    made: list[Row] = []
    for tool in any_object(config.get("tools")) if isinstance(config, dict) else []:
        spec = tool.get("toolSpec")
        if isinstance(spec, dict):
            schema = spec.get("inputSchema")
            parameters = schema.get("json") if isinstance(schema, dict) else None
            made.append(
                function_tool(name=spec.get("name"), description=spec.get("description"), parameters=parameters)
            )
    return made


def _recognises_text(row: Row) -> bool:
    texts = ("system", "prompt", "completion")
    return row.keys() <= {*texts, "schemaVersion"} and all(isinstance(row.get(name), str) for name in texts)


def _convert_text(row: Row) -> list[Row]:
    texts = (("system", "system"), ("user", "prompt"), ("assistant", "completion"))
    return example(message(role, [text_part(row[name])]) for role, name in texts if role != "system" or row[name])


BEDROCK = register(
    Shape(
        name="bedrock",
        title="Amazon Bedrock's conversations",
        keys="`messages` whose `content` is a list of parts without types",
        format="chat",
        recognises=_recognises,
        convert=_convert,
        structure=frozenset({"role", "schemaVersion", "format"}),
    )
)

BEDROCK_TEXT = register(
    Shape(
        name="bedrock_text",
        title="Amazon Bedrock's texts",
        keys="`system`, `prompt` and `completion`",
        format="chat",
        recognises=_recognises_text,
        convert=_convert_text,
    )
)
