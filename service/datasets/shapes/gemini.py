"""Gemini: `{"systemInstruction": …, "contents": [{"role": "user", "parts": [{"text": …}]}, {"role": "model", …}]}`.

Source of the shape: the Gemini API's `GenerateContentRequest` and Vertex AI's guides to supervised and preference
tuning and to batch prediction (`request` and `response`). Keys are written in camel case or with underscores.
"""

from __future__ import annotations

from collections import defaultdict
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

_ROLES = {"user": "user", "model": "assistant", "function": "user", "system": "system", "None": "user"}
_KNOWN_PARTS = ("text", "inlineData", "fileData", "functionCall", "functionResponse", "thoughtSignature")


def _get(value: Row, name: str) -> Any:
    """A value by its name in camel case, or with underscores."""
    if name in value:
        return value[name]
    return value.get("".join(f"_{char.lower()}" if char.isupper() else char for char in name))


def _parts(turn: Row) -> list[Row]:
    """The parts of a turn; one alone is also written without a list."""
    parts = turn.get("parts")
    return [parts] if isinstance(parts, dict) else objects(parts, "parts")


def _is_turn(value: Row) -> bool:
    return "parts" in value and value.get("role") in ("user", "model", "function", "system", None)


def _request(row: Row) -> Row:
    inner = row.get("request")
    return inner if isinstance(inner, dict) and "contents" in inner else row


def _recognises(row: Row) -> bool:
    contents = _request(row).get("contents")
    return "completions" not in row and any(_is_turn(turn) for turn in any_object(contents)[:1])


class _Conversation:
    """Turns as messages. Calls have no ids in most Gemini data: each result belongs to the oldest open call."""

    def __init__(self) -> None:
        self.messages: list[Row] = []
        self._calls = 0
        self._open: defaultdict[str, list[str]] = defaultdict(list)

    def add_system(self, instruction: Any) -> None:
        if isinstance(instruction, str):
            parts = [text_part(instruction)]
        else:
            given = _parts(instruction if isinstance(instruction, dict) else {})
            parts = [text_part(text_in(part.get("text"), "text")) for part in given]
        self.messages.append(message("system", parts))

    def add_turn(self, turn: Row) -> None:
        role = _ROLES.get(str(turn.get("role", "user")))
        if role is None:
            raise CannotConvert(f"the role {str(turn['role'])[:80]!r} is neither user nor model")
        parts: list[Row] = []
        calls: list[Row] = []
        for part in _parts(turn):
            if part.get("thought"):
                raise no_place("a thought of the model")
            if unknown := [key for key in part if _camel(key) not in _KNOWN_PARTS and part[key] is not None]:
                raise no_place(f"a part with `{unknown[0]}`")
            if "text" in part:
                parts.append(text_part(text_in(part["text"], "text")))
            if isinstance(data := _get(part, "inlineData"), dict):
                base64 = text_in(data.get("data"), "data")
                parts.append(image_part(mime_type=str(_get(data, "mimeType")), base64=base64))
            if isinstance(file := _get(part, "fileData"), dict):
                parts.append(_image_file(file))
            if isinstance(made := _get(part, "functionCall"), dict):
                calls.append(self._called(made))
            if isinstance(result := _get(part, "functionResponse"), dict):
                self.messages.append(self._result(result))
        if parts or calls:
            self.messages.append(message(role, parts, calls))

    def _called(self, made: Row) -> Row:
        self._calls += 1
        id = made.get("id") if isinstance(made.get("id"), str) else f"call_{self._calls}"
        self._open[str(made.get("name"))].append(str(id))
        return call(id=str(id), name=made.get("name"), arguments=made.get("args"))

    def _result(self, result: Row) -> Row:
        name, open_ids = result.get("name"), self._open[str(result.get("name"))]
        if not open_ids:
            raise CannotConvert(f"there is a result of `{name}`, which was not called before")
        given = result.get("id")
        id = given if given in open_ids else open_ids[0]
        open_ids.remove(id)
        response = result.get("response")
        return tool_result(id=id, content=response if response is not None else "")


def _camel(key: str) -> str:
    first, *others = key.split("_")
    return first + "".join(other.capitalize() for other in others)


def _image_file(file: Row) -> Row:
    mime_type = str(_get(file, "mimeType"))
    if not mime_type.startswith("image/"):
        raise CannotConvert(f"it contains a file of type {mime_type[:80]}; only images can be converted")
    return image_part(url=text_in(_get(file, "fileUri"), "fileUri"))


def _schema(value: Any) -> Any:
    """A schema with its types in lower case, as JSON Schema has them (Gemini: `OBJECT`)."""
    if isinstance(value, list):
        return [_schema(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: item.lower() if key == "type" and isinstance(item, str) else _schema(item) for key, item in value.items()
    }


def _tools(request: Row) -> list[Row]:
    return [
        function_tool(
            name=declared.get("name"),
            description=declared.get("description"),
            parameters=_schema(declared.get("parameters")) or _get(declared, "parametersJsonSchema"),
        )
        for tool in any_object(request.get("tools"))
        for declared in any_object(_get(tool, "functionDeclarations"))
    ]


def _conversation(request: Row) -> _Conversation:
    conversation = _Conversation()
    instruction = _get(request, "systemInstruction")
    if instruction:
        conversation.add_system(instruction)
    for turn in objects(request.get("contents"), "contents"):
        conversation.add_turn(turn)
    return conversation


def _convert(row: Row) -> list[Row]:
    request = _request(row)
    conversation = _conversation(request)
    if request is not row:
        response = row.get("response")
        candidates = any_object(response.get("candidates")) if isinstance(response, dict) else []
        if not candidates or not isinstance(candidates[0].get("content"), dict):
            raise CannotConvert("the request has no response with a candidate")
        conversation.add_turn({"role": "model", **candidates[0]["content"]})
    return example(conversation.messages, _tools(request))


def _recognises_preference(row: Row) -> bool:
    turns, completions = any_object(row.get("contents")), any_object(row.get("completions"))
    return bool(turns) and _is_turn(turns[0]) and any(isinstance(each.get("completion"), dict) for each in completions)


def _convert_preference(row: Row) -> list[Row]:
    completions = objects(row.get("completions"), "completions")
    scores = [each.get("score") for each in completions]
    answers = [each["completion"] for each in completions if isinstance(each.get("completion"), dict)]
    if len(answers) != 2 or scores not in ([0, 1], [1, 0]):
        raise CannotConvert("it needs two completions, one with score 1 and one with score 0")
    sides: list[list[Row]] = []
    for score in (1, 0):
        side = _Conversation()
        side.add_turn({"role": "model", **answers[scores.index(score)]})
        sides.append(side.messages)
    tools = _tools(row)
    prompt: Row = {"messages": _conversation(row).messages, **({"tools": tools} if tools else {})}
    return [{"input": prompt, "preferred_output": sides[0], "non_preferred_output": sides[1]}]


GEMINI = register(
    Shape(
        name="gemini",
        title="Gemini",
        keys="`contents` with `role` and `parts`",
        format="chat",
        recognises=_recognises,
        convert=_convert,
        structure=frozenset({"role", "type", "mimeType", "mime_type"}),
    )
)

GEMINI_PREFERENCE = register(
    Shape(
        name="gemini_preference",
        title="Gemini's preference tuning",
        keys="`contents` and two `completions` with `score`",
        format="preference",
        recognises=_recognises_preference,
        convert=_convert_preference,
        structure=frozenset({"role", "type", "score", "mimeType", "mime_type"}),
    )
)
