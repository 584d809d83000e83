"""For every check, files in which it speaks and files in which it is silent."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from tests.datasets.rows import (
    OLD_MODEL,
    asked,
    call,
    calling,
    chat,
    completion,
    function_call_row,
    graded,
    jsonl,
    message,
    pair,
    tool,
    with_image,
)
from tests.evaluation.bombs import doubling, many_patterns


class Case(NamedTuple):
    """`found` has the check's code at `line` and `pointer`; `silent` does not have it."""

    found: bytes
    line: int
    pointer: str | None
    silent: bytes
    options: Mapping[str, Any] = MappingProxyType({})


def _prefixed(row: dict[str, Any], count: int = 1) -> bytes:
    return jsonl(*[asked(f"Question {index}") for index in range(count)], row)


def input_with(**more: Any) -> dict[str, Any]:
    """A preference row whose input has more keys."""
    return {**pair(), "input": {**pair()["input"], **more}}


def _rows(count: int) -> list[dict[str, Any]]:
    return [asked(f"Question number {index}?", f"Answer number {index}.") for index in range(count)]


PNG = "data:image/png;base64," + base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"0" * 60 + b"IEND\xaeB`\x82").decode()
CUT_PNG = "data:image/png;base64," + base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"0" * 61).decode()
JPEG = "data:image/jpeg;base64," + base64.b64encode(b"\xff\xd8\xff" + b"0" * 61 + b"\xff\xd9").decode()
WEBP = "data:image/webp;base64," + base64.b64encode(b"RIFF\x20\0\0\0WEBP" + b"0" * 28).decode()
BAD_BASE64 = (
    PNG[:60] + "\n" + PNG[60:],
    PNG[:60] + " " + PNG[60:],
    PNG[:-3],
    PNG[:-2],
    PNG[:22] + PNG,
    PNG[:22] + PNG[22:].replace("w", "-"),
    PNG[:22],
    PNG + "%3D",
    "data:image/svg+xml,%3Csvg%3E",
)
GIF = "data:image/gif;base64," + base64.b64encode(b"GIF89a" + b"0" * 60).decode()
LARGE_PNG = PNG + "A" * 14_000_000
LONG = "This is a sentence of an answer. " * 400
CUT = "The first reason is simple. The second reason is that when the water gets cold it becomes a"
KEY = "sk-" + "a1B2c3D4e5F6g7H8i9J0k1L2"
OK = jsonl(chat())
OTHER_NOTATIONS: tuple[tuple[str, Any], ...] = (
    ("system", "Be brief."),
    ("systemPrompt", [{"type": "text", "text": "Be brief."}]),
    ("images", ["https://example.com/a.png"]),
    ("history", [["Hello.", "Good day."]]),
    ("weight", 1),
)
SHAREGPT = jsonl({"conversations": [{"from": "human", "value": "Why?"}, {"from": "gpt", "value": "Because."}]})
TOO_COMPLEX: list[object] = [doubling(27), many_patterns(3_000)]
REFUSED_SCHEMAS: list[tuple[Any, str, Any]] = [
    ({"city": {"type": "str"}}, "", {"type": "object", "properties": {"city": {"type": "string"}}}),
    ({"properties": {"a": {"type": "string"}}}, "", {"type": "object", "properties": {}}),
    ({}, "", {"type": "object", "properties": {"items": {"type": "string"}}}),
    ({"type": "object"}, "", {"type": "object", "properties": {"type": {"type": "string"}}}),
    (
        {"type": "object", "properties": {"a": {"type": "object", "properties": {"b": {"type": "array"}}}}},
        "/properties/a/properties/b",
        {"type": "object", "properties": {"a": {"type": ["array", "null"], "items": {"type": "string"}}}},
    ),
    ({"type": "object", "properties": {"a": {"enum": []}}}, "/properties/a/enum", {"type": "object", "properties": {}}),
    ({"type": "object", "properties": {"a": {}}, "required": ["b"]}, "/required", {"type": "object", "properties": {}}),
]
STRICT = {
    "type": "object",
    "properties": {"a": {"type": ["string", "null"]}, "b": {"anyOf": [{"type": "string"}, {"type": "number"}]}},
    "required": ["a", "b"],
    "additionalProperties": False,
}
INNER = {"type": "object", "properties": {"c": {"type": "string"}}, "required": ["c"]}
NOT_STRICT: list[tuple[Any, str]] = [
    ({"type": "object", "properties": {}}, ""),
    ({**STRICT, "required": ["a"]}, ""),
    ({**STRICT, "properties": {"a": INNER, "b": {"type": "string"}}}, "/properties/a"),
    ({**STRICT, "allOf": [{"type": "object"}]}, "/allOf"),
    ({**STRICT, "properties": {"a": {"type": "string", "minLength": 3}, "b": {}}}, "/properties/a/minLength"),
    ({**STRICT, "anyOf": [STRICT]}, "/anyOf"),
]
NO_SCHEMAS: list[Any] = [
    {"type": "object", "properties": {"a": {"type": "str"}}},
    {"type": "object", "properties": {"a": {"type": "string", "required": True}}},
    {"type": "object", "properties": {}, "required": "a"},
    {"type": "object", "properties": []},
    {"type": "strng"},
    {"type": "string"},
    {"type": "object", "properties": {"a": {"$ref": "https://example.com/a.json"}}},
    [],
]
NO_ARGUMENTS: list[Any] = [{"city": "Rome"}, "{city: Rome}", '["Rome"]', "", None, '{"city": NaN}']
COMPLETIONS = [completion(f"Text {index} about things\n\n###\n\n", f" some words {index} END") for index in range(120)]
LABELLED = [asked(f"Text number {index}", ["positive", "negative"][index % 2]) for index in range(40)]

CASES: dict[str, list[Case]] = {
    "file_empty": [Case(b"", 1, "", OK), Case(b" \n\n", 1, "", OK)],
    "file_too_large": [Case(OK, 1, "", OK[: len(OK) // 2], {"max_file_bytes": len(OK) - 1})],
    "not_utf8": [
        Case(OK + b'{"messages": "Gr\xf6\xdfe"}\n', 2, "", OK),
        Case(OK + b'{"Stra\xdfe f\xfcr": 1}\n', 2, "", OK),
    ],
    "byte_order_mark": [Case(b"\xef\xbb\xbf" + OK, 1, "", OK)],
    "crlf": [Case(OK.replace(b"\n", b"\r\n"), 1, "", OK)],
    "nul_byte": [Case(OK + OK.replace(b"Why", b"W\x00y"), 2, "", OK)],
    "line_too_long": [Case(OK + jsonl(asked("x" * 2000)), 2, "", OK, {"max_line_bytes": 1000})],
    "blank_line": [Case(OK + b"\n" + OK, 2, "", OK), Case(OK + b"  \t\r\n" + OK, 2, "", OK)],
    "invalid_json": [
        Case(OK + b"{'messages': []}\n", 2, "", OK),
        Case(OK + b'{"messages": [],}\n', 2, "", OK),
        Case(OK + b'{"messages": [\n', 2, "", OK),
        Case(OK + b'{"a": "tab\there"}\n', 2, "", OK),
        Case(OK + b'{"a": 1} {"b": 2}\n', 2, "", OK),
    ],
    "other_shape": [Case(SHAREGPT, 1, "", OK + SHAREGPT)],
    "not_an_object": [Case(OK + b"[1, 2]\n", 2, "", OK), Case(OK + b"null\n", 2, "", OK)],
    "duplicate_key": [
        Case(OK + b'{"messages": [], "messages": []}\n', 2, "/messages", OK),
        Case(
            OK + b'{"messages": [{"role": "user", "role" : "user", "content": "say \\":\\""}]}\n',
            2,
            "/messages/0/role",
            OK,
        ),
        Case(OK + b'{"a\\\\":1,"b":2,"b":3}\n', 2, "/b", OK + jsonl(asked('He said "a": b', ":) fine\\"))),
    ],
    "nan_or_infinity": [
        Case(OK + b'{"messages": [{"role": "user", "content": NaN}]}\n', 2, "/messages/0/content", OK),
        Case(OK + b'{"messages": [], "x": -Infinity}\n', 2, "/x", OK),
    ],
    "number_out_of_range": [
        Case(OK + b'{"messages": [], "x": 1e999}\n', 2, "/x", OK),
        Case(OK + b'{"messages": [], "x": ' + b"9" * 5000 + b"}\n", 2, "/x", OK),
    ],
    "lone_surrogate": [
        Case(OK + jsonl(asked("half \ud83d")), 2, "/messages/0/content", OK + jsonl(asked("whole \U0001f600"))),
        Case(OK + b'{"messages": [], "\\udc00": 1}\n', 2, "", OK),
    ],
    "too_many_values": [
        Case(
            OK + b'{"messages": [], "x": [' + b"1," * 1_000_000 + b"1]}\n", 2, "", OK + jsonl(asked("1," * 1_000_001))
        ),
    ],
    "nested_too_deep": [
        Case(OK + b'{"a":' * 150 + b"1" + b"}" * 150 + b"\n", 2, "", OK + b'{"a":' * 50 + b"1" + b"}" * 50),
        Case(OK + b"[" * 100_000 + b"\n", 2, "", OK),
    ],
    "json_array_file": [
        Case(json.dumps([chat(), chat()]).encode(), 1, "", OK),
        Case(json.dumps([chat(), chat()], indent=2).encode(), 1, "", jsonl("[1]", chat())),
        Case(json.dumps(chat(), indent=2).encode(), 1, "", OK),
    ],
    "table_file": [
        Case(b"prompt,completion\nWhy?,Because.\n", 1, "", jsonl("hello, world", chat())),
        Case(b"a\tb\n1\t2\n3\t4\n", 1, "", OK),
        Case(b"PK\x03\x04rest of a workbook\n", 1, "", OK),
    ],
    "not_a_dataset": [
        Case(
            b"version https://git-lfs.github.com/spec/v1\noid sha256:4665a5ea\nsize 217829\n",
            1,
            "",
            OK,
        ),
        Case(b"<!DOCTYPE html>\n<html><body>Log in</body></html>\n", 1, "", jsonl(asked("<html>"))),
        Case(b'{"error": {"message": "Not found", "type": "invalid_request_error"}}', 1, "", OK),
        Case(b"%PDF-1.7\n", 1, "", OK),
    ],
    "not_text_file": [Case(b"\x1f\x8b\x08rest", 1, "", OK), Case("{}".encode("utf-16"), 1, "", OK)],
    "unknown_format": [Case(jsonl(chat(), {"question": "a", "answer": "b"}), 2, "", OK)],
    "mixed_formats": [
        Case(jsonl(chat(), chat(), completion()), 3, "", jsonl(chat(), asked())),
        Case(jsonl(completion(), completion(), pair()), 3, "", jsonl(completion(), completion())),
    ],
    "too_few_examples": [Case(jsonl(*_rows(9)), 1, "", jsonl(*_rows(10)))],
    "few_examples": [Case(jsonl(*_rows(49)), 1, "", jsonl(*_rows(50))), Case(jsonl(*_rows(10)), 1, "", OK)],
    "messages_missing": [
        Case(_prefixed({"messages": []}), 2, "/messages", OK),
        Case(_prefixed({"messages": "hi"}), 2, "/messages", OK),
    ],
    "message_not_an_object": [Case(_prefixed({"messages": ["hi"]}), 2, "/messages/0", OK)],
    "role_missing": [Case(_prefixed(chat({"content": "hi"}, message("assistant"))), 2, "/messages/0/role", OK)],
    "role_unknown": [
        Case(
            _prefixed(chat(message("narrator"), message("assistant"))),
            2,
            "/messages/0/role",
            jsonl(chat(message("human"), message("gpt"))),
        ),
        Case(_prefixed(chat(message("user"), {"role": ["x"], "content": "y"})), 2, "/messages/1/role", OK),
    ],
    "other_notation": [
        *(
            Case(_prefixed(asked(**{key: value})), 2, f"/{key}", jsonl(asked(parallel_tool_calls=True)))
            for key, value in OTHER_NOTATIONS
        ),
        *(
            Case(
                _prefixed(chat(message("user"), message("assistant", **{key: value}))),
                2,
                f"/messages/1/{key}",
                jsonl(chat(message("user"), message("assistant", weight=1))),
            )
            for key, value in (("train", True), ("masked", False), ("weight", "1"), ("tool_call", {"name": "f"}))
        ),
        Case(_prefixed(chat(message("human"), message("assistant"))), 2, "/messages/0/role", OK),
        Case(
            _prefixed({"messages": [{"from": "human", "value": "Why?"}, message("assistant")]}),
            2,
            "/messages/0/from",
            OK,
        ),
        Case(_prefixed(chat(message("user", weight=0), message("assistant"))), 2, "/messages/0/weight", OK),
    ],
    "metadata_key": [
        Case(_prefixed(asked(metadata={"a": 1})), 2, "/metadata", jsonl(asked(parallel_tool_calls=True))),
        Case(_prefixed(asked(source="wiki")), 2, "/source", jsonl(asked(source="A whole page.\nIt is long."))),
        Case(
            _prefixed(asked(LONG, note=LONG)),
            2,
            "/note",
            jsonl(asked(note="Another question.")),
        ),
        Case(_prefixed(chat(message("user", **{"a/b": 1}), message("assistant"))), 2, "/messages/0/a~1b", OK),
        Case(jsonl(pair(), pair(id=1)), 2, "/id", jsonl(pair())),
        Case(jsonl(pair(), {**pair(), "input": {**pair()["input"], "x": 1}}), 2, "/input/x", jsonl(pair())),
        Case(jsonl(completion(), completion(id=1)), 2, "/id", jsonl(completion())),
    ],
    "reasoning_key": [
        Case(
            _prefixed(chat(message("user"), message("assistant", **{key: "I see."}))),
            2,
            f"/messages/1/{key}",
            jsonl(chat(message("user"), message("assistant", **{key: ""}))),
        )
        for key in ("reasoning_content", "thinking")
    ],
    "unknown_key": [
        Case(_prefixed(asked(context="Rome is warm.")), 2, "/context", jsonl(asked(parallel_tool_calls=True))),
        Case(_prefixed(asked(label=False)), 2, "/label", jsonl(asked(id=7))),
        Case(_prefixed(asked(images=["photos/a.png"])), 2, "/images", OK),
        Case(_prefixed(chat(system="Be verbose.")), 2, "/system", jsonl(chat(system="Be brief."))),
        Case(jsonl(pair(), pair(context="Rome is warm.")), 2, "/context", jsonl(pair())),
    ],
    "message_unknown_key": [
        Case(
            _prefixed(chat(message("user", **{"a/b": "What?"}), message("assistant"))),
            2,
            "/messages/0/a~1b",
            jsonl(chat(message("user", name="ann"), message("assistant", weight=1))),
        ),
        Case(_prefixed(chat(message("user", train=True), message("assistant"))), 2, "/messages/0/train", OK),
        Case(_prefixed(chat(message("user"), message("assistant", train=True, weight=0))), 2, "/messages/1/train", OK),
    ],
    "content_missing": [
        Case(_prefixed(chat({"role": "user"}, message("assistant"))), 2, "/messages/0/content", jsonl(calling())),
        Case(_prefixed(chat(message("user"), message("assistant", None))), 2, "/messages/1/content", OK),
    ],
    "content_type": [
        Case(
            _prefixed(chat(message("user", 5), message("assistant"))),
            2,
            "/messages/0/content",
            jsonl(chat(message("user", [{"type": "text", "text": "Hi"}]), message("assistant"))),
        ),
        Case(
            _prefixed(chat(message("user", [{"type": "text"}]), message("assistant"))), 2, "/messages/0/content/0", OK
        ),
        Case(_prefixed(chat(message("user", ["x"]), message("assistant"))), 2, "/messages/0/content/0", OK),
        Case(
            _prefixed(chat(message("user", [{"type": "video"}]), message("assistant"))), 2, "/messages/0/content/0", OK
        ),
    ],
    "content_empty": [
        Case(
            _prefixed(asked("Why?", "")),
            2,
            "/messages/1/content",
            jsonl(
                calling(after=[message("tool", "", tool_call_id="call_1"), message("assistant")]),
                chat(message("user"), message("function", " ", name="reset"), message("assistant")),
            ),
        ),
        Case(_prefixed(asked(" \n\u3000")), 2, "/messages/0/content", jsonl(calling())),
        Case(_prefixed(asked("Why?", [{"type": "text", "text": " "}])), 2, "/messages/1/content", OK),
    ],
    "assistant_missing": [Case(_prefixed(chat(message("user"))), 2, "/messages", OK)],
    "nothing_trained": [
        Case(
            _prefixed(chat(message("user"), message("assistant", weight=0))),
            2,
            "/messages",
            jsonl(chat(message("user"), message("assistant", weight=0), message("user"), message("assistant"))),
        )
    ],
    "weight_value": [
        Case(_prefixed(chat(message("user"), message("assistant", weight=bad))), 2, "/messages/1/weight", good)
        for bad, good in ((0.5, OK), (2, OK), ("often", jsonl(chat(message("user"), message("assistant", weight=1)))))
    ],
    "weight_not_on_assistant": [
        Case(
            _prefixed(chat(message("user", weight=1), message("assistant"))),
            2,
            "/messages/0/weight",
            jsonl(chat(message("user"), message("assistant", weight=1))),
        )
    ],
    "last_message_not_assistant": [
        Case(_prefixed(chat(message("user"), message("assistant"), message("user"))), 2, "/messages/2/role", OK)
    ],
    "system_repeated": [
        Case(
            _prefixed(chat(message("system"), message("system"), message("user"), message("assistant"))),
            2,
            "/messages/1/role",
            OK,
        )
    ],
    "system_not_first": [
        Case(_prefixed(chat(message("user"), message("system"), message("assistant"))), 2, "/messages/1/role", OK)
    ],
    "user_missing": [Case(_prefixed(chat(message("system"), message("assistant"))), 2, "/messages", OK)],
    "name_invalid": [
        Case(
            _prefixed(chat(message("user", name="Ann B."), message("assistant"))),
            2,
            "/messages/0/name",
            jsonl(chat(message("user", name="Ann-B_2"), message("assistant"))),
        ),
        Case(
            _prefixed(chat(message("user"), message("function"), message("assistant"))),
            2,
            "/messages/1/name",
            jsonl(function_call_row()),
        ),
    ],
    "tools_and_functions": [
        Case(_prefixed({**calling(), "functions": [tool()["function"]]}), 2, "/functions", jsonl(calling()))
    ],
    "tools_count": [
        Case(_prefixed(asked(tools={})), 2, "/tools", jsonl(asked(tools=[]), asked(functions=[]))),
        Case(jsonl(pair(), input_with(tools=5)), 2, "/input/tools", jsonl(input_with(tools=[]))),
        Case(_prefixed(asked(tools=[tool(f"t{index}") for index in range(129)])), 2, "/tools", jsonl(calling())),
        Case(_prefixed(asked(functions={})), 2, "/functions", jsonl(function_call_row())),
    ],
    "parallel_tool_calls_type": [
        *(
            Case(
                _prefixed(asked(parallel_tool_calls=bad)),
                2,
                "/parallel_tool_calls",
                jsonl(asked(parallel_tool_calls=good)),
            )
            for bad, good in (("true", True), (1, False), (None, True))
        ),
        Case(
            jsonl(pair(), input_with(parallel_tool_calls="false")),
            2,
            "/input/parallel_tool_calls",
            jsonl(input_with(tools=[], parallel_tool_calls=True)),
        ),
    ],
    "tool_shape": [
        Case(_prefixed(asked(tools=["weather"])), 2, "/tools/0", jsonl(calling())),
        Case(_prefixed(asked(tools=[{"function": {"name": "f"}}])), 2, "/tools/0/type", jsonl(calling())),
        Case(_prefixed(asked(tools=[{"type": "function"}])), 2, "/tools/0/function", jsonl(calling())),
        Case(_prefixed(asked(functions=["f"])), 2, "/functions/0", jsonl(function_call_row())),
    ],
    "tool_name_invalid": [
        Case(_prefixed(asked(tools=[tool("get weather")])), 2, "/tools/0/function/name", jsonl(calling()))
    ],
    "tool_name_duplicate": [
        Case(
            _prefixed(asked(tools=[tool("a"), tool("a")])),
            2,
            "/tools/1/function/name",
            jsonl(asked(tools=[tool("a"), tool("b")])),
        )
    ],
    "tool_parameters_invalid": [
        Case(_prefixed(asked(tools=[tool(parameters=wrong)])), 2, "/tools/0/function/parameters", jsonl(calling()))
        for wrong in NO_SCHEMAS
    ],
    "tool_schema_refused": [
        Case(
            _prefixed(asked(tools=[tool(parameters=bad)])),
            2,
            f"/tools/0/function/parameters{place}",
            jsonl(calling(), asked(tools=[tool(parameters=good)])),
        )
        for bad, place, good in REFUSED_SCHEMAS
    ],
    "tool_strict_schema": [
        Case(
            _prefixed(asked(tools=[tool(parameters=bad, strict=True)])),
            2,
            f"/tools/0/function/parameters{place}",
            jsonl(asked(tools=[tool(parameters=STRICT, strict=True), tool("loose", parameters=bad)])),
        )
        for bad, place in NOT_STRICT
    ],
    "tool_fields": [
        Case(_prefixed(asked(tools=[tool(returns="x")])), 2, "/tools/0/function/returns", jsonl(calling())),
        Case(_prefixed(asked(tools=[{**tool(), "id": 1}])), 2, "/tools/0/id", jsonl(asked(tools=[tool(strict=False)]))),
        Case(_prefixed(asked(tools=[tool(strict="yes")])), 2, "/tools/0/function/strict", jsonl(calling())),
        Case(
            _prefixed(asked(tools=[tool() | {"function": {"name": "f", "description": ["x"]}}])),
            2,
            "/tools/0/function/description",
            jsonl(asked(tools=[tool() | {"function": {"name": "f"}}])),
        ),
    ],
    "schema_too_complex": [
        Case(_prefixed(asked(tools=[tool(parameters=wrong)])), 2, "/tools/0/function/parameters", jsonl(calling()))
        for wrong in TOO_COMPLEX
    ],
    "older_functions": [Case(_prefixed(function_call_row()), 2, "/functions", jsonl(calling()))],
    "call_shape": [
        Case(_prefixed(calling(calls=[])), 2, "/messages/1/tool_calls", jsonl(calling())),
        Case(_prefixed(calling(calls=["weather"])), 2, "/messages/1/tool_calls/0", jsonl(calling())),
        Case(_prefixed(calling(calls=[{"id": "a", "type": "function"}])), 2, "/messages/1/tool_calls/0/function", OK),
        Case(_prefixed(calling(calls=[{**call(), "type": "code"}])), 2, "/messages/1/tool_calls/0/type", OK),
        Case(_prefixed(calling(calls=[call(name="")])), 2, "/messages/1/tool_calls/0/function/name", OK),
        Case(
            _prefixed(chat(message("user"), message("assistant", function_call="f"))),
            2,
            "/messages/1/function_call",
            OK,
        ),
    ],
    "call_not_by_assistant": [
        Case(
            _prefixed(chat(message("user", tool_calls=[call()]), message("assistant"), tools=[tool()])),
            2,
            "/messages/0/tool_calls",
            jsonl(calling()),
        )
    ],
    "call_undeclared": [
        Case(
            _prefixed(calling(calls=[call(name="time")])),
            2,
            "/messages/1/tool_calls/0/function/name",
            jsonl(calling(), function_call_row()),
        ),
    ],
    "calls_without_definitions": [
        Case(
            _prefixed(chat(message("user"), message("assistant", None, tool_calls=[call()]))),
            2,
            "/messages/1/tool_calls/0/function/name",
            jsonl(calling(), function_call_row(), calling(calls=[call(name="time")])),
        ),
        Case(_prefixed(calling(tools=[])), 2, "/messages/1/tool_calls/0/function/name", jsonl(calling())),
    ],
    "arguments_invalid": [
        Case(
            _prefixed(calling(calls=[call(arguments=wrong)])),
            2,
            "/messages/1/tool_calls/0/function/arguments",
            jsonl(calling(), function_call_row()),
        )
        for wrong in NO_ARGUMENTS
    ],
    "arguments_against_schema": [
        Case(
            _prefixed(calling(calls=[call(arguments=bad)])),
            2,
            "/messages/1/tool_calls/0/function/arguments",
            jsonl(calling(), function_call_row()),
        )
        for bad in ("{}", '{"city": 5}', '{"city": "Rome", "unit": "K"}')
    ],
    "call_id_missing": [
        Case(_prefixed(calling(calls=[call(call_id=None)])), 2, "/messages/1/tool_calls/0/id", jsonl(calling())),
        Case(
            _prefixed(calling(after=[message("tool"), message("assistant")])),
            2,
            "/messages/2/tool_call_id",
            jsonl(function_call_row()),
        ),
    ],
    "call_id_duplicate": [
        Case(_prefixed(calling(calls=[call(), call()])), 2, "/messages/1/tool_calls/1/id", jsonl(calling()))
    ],
    "call_unanswered": [
        Case(_prefixed(calling(after=[message("assistant")])), 2, "/messages/1/tool_calls/0", jsonl(calling())),
        Case(
            _prefixed(calling(calls=[call(), call(call_id="call_2")])),
            2,
            "/messages/1/tool_calls/1",
            jsonl(calling(after=[])),
        ),
        Case(
            _prefixed(
                {
                    **function_call_row(),
                    "messages": [*function_call_row()["messages"][:2], message("user"), message("assistant")],
                }
            ),
            2,
            "/messages/1/function_call",
            jsonl(function_call_row()),
        ),
    ],
    "tool_call_id_unresolved": [
        Case(
            _prefixed(calling(after=[message("tool", tool_call_id="other"), message("assistant")])),
            2,
            "/messages/2/tool_call_id",
            jsonl(calling()),
        )
    ],
    "completion_fields": [
        Case(jsonl(completion(), {"prompt": "a"}), 2, "/completion", jsonl(completion(""))),
        Case(jsonl(completion(), completion(5)), 2, "/prompt", jsonl(completion())),
        Case(jsonl(completion(), {"Prompt": "a", "completion": " b"}), 2, "/prompt", jsonl(completion())),
    ],
    "completion_extra_columns": [
        Case(jsonl(completion(), completion(context="Rome is warm.")), 2, "/context", jsonl(completion(id=1)))
    ],
    "completion_empty": [Case(jsonl(completion(), completion(answer=" ")), 2, "/completion", jsonl(completion()))],
    "completion_long_row": [
        Case(jsonl(completion(), completion("word " * 2_100)), 2, "", jsonl(completion("word " * 1_900)))
    ],
    "completion_no_leading_space": [
        Case(jsonl(completion(), completion(answer="yes")), 2, "/completion", jsonl(completion(answer="\nyes")))
    ],
    "completion_few_rows": [Case(jsonl(*COMPLETIONS[:99]), 1, "", jsonl(*COMPLETIONS[:100]))],
    "completion_task": [Case(jsonl(*COMPLETIONS), 1, "", OK)],
    "completion_no_separator": [
        Case(jsonl(completion("one", " a b"), completion("two!", " c d")), 1, "/prompt", jsonl(*COMPLETIONS)),
    ],
    "completion_separator_inside": [
        Case(
            jsonl(*COMPLETIONS[:50], completion("One\n\n###\n\n two\n\n###\n\n", " three END")),
            51,
            "/prompt",
            jsonl(*COMPLETIONS),
        )
    ],
    "completion_prompts_identical": [
        Case(jsonl(completion("same", " a b c"), completion("same", " d e f")), 1, "/prompt", jsonl(*COMPLETIONS))
    ],
    "completion_all_identical": [
        Case(jsonl(completion("a ->", " same"), completion("b ->", " same")), 1, "/completion", jsonl(*COMPLETIONS))
    ],
    "completion_prompt_prefix": [
        Case(
            jsonl(completion("Classify this text: a ->", " b"), completion("Classify this text: c ->", " d")),
            1,
            "/prompt",
            jsonl(*COMPLETIONS),
        )
    ],
    "completion_completion_prefix": [
        Case(
            jsonl(completion("a ->", " The answer is 1"), completion("b ->", " The answer is 2")),
            1,
            "/completion",
            jsonl(completion("a ->", " one END"), completion("b ->", " two END")),
        )
    ],
    "completion_no_ending": [
        Case(jsonl(completion("a ->", " one x"), completion("b ->", " two y")), 1, "/completion", jsonl(*COMPLETIONS))
    ],
    "completion_upper_case": [
        Case(jsonl(completion("WHY IS IT SO ->", " because")), 1, "/prompt", jsonl(*COMPLETIONS)),
        Case(jsonl(completion("wieso ->", " ÄÖÜ ÄÖÜ")), 1, "/completion", jsonl(completion("wieso ->", " äöü"))),
    ],
    "preference_fields": [
        Case(jsonl(pair(), {"input": pair()["input"]}), 2, "/preferred_output", jsonl(pair())),
    ],
    "preference_input": [
        Case(jsonl(pair(), {**pair(), "input": "Why?"}), 2, "/input", jsonl(pair())),
        Case(jsonl(pair(), {**pair(), "input": {"messages": []}}), 2, "/input/messages", jsonl(pair())),
    ],
    "preference_output": [
        Case(jsonl(pair(), {**pair(), "preferred_output": []}), 2, "/preferred_output", jsonl(pair())),
        Case(
            jsonl(pair(), {**pair(), "non_preferred_output": [message("user")]}),
            2,
            "/non_preferred_output/0/role",
            jsonl(pair()),
        ),
    ],
    "preference_identical": [Case(jsonl(pair(), pair("Same.", "Same.")), 2, "/preferred_output", jsonl(pair()))],
    "preference_input_ends_with_answer": [
        Case(
            jsonl(pair(), {**pair(), "input": {"messages": [message("user"), message("assistant")]}}),
            2,
            "/input/messages/1/role",
            jsonl(pair()),
        )
    ],
    "preference_length_bias": [
        Case(
            jsonl(*[pair(f"A long and thorough answer {index}.", "No.") for index in range(30)]),
            1,
            "",
            jsonl(*[pair(f"Yes {index}.", f"Not {index}.") for index in range(30)]),
        )
    ],
    "reinforcement_last_message": [
        Case(
            jsonl(graded(), graded(), {"messages": [message("user"), message("assistant")], "reference_answer": "4"}),
            3,
            "/messages/1/role",
            jsonl(graded()),
        )
    ],
    "reinforcement_nothing_to_grade": [
        Case(jsonl(graded(), graded(), {"messages": [message("user")]}), 3, "", jsonl(graded())),
        Case(jsonl(*[chat(message("user", f"Question {at}?")) for at in range(3)], asked()), 1, "", jsonl(asked())),
    ],
    "reinforcement_field_missing": [
        Case(
            jsonl(*[graded(topic="sums") for _ in range(19)], graded()),
            20,
            "",
            jsonl(*[graded(topic="sums") for _ in range(20)]),
        )
    ],
    "image_not_in_user_message": [
        Case(_prefixed(with_image(PNG, role="system")), 2, "/messages/0/content/1/image_url", jsonl(with_image(PNG)))
    ],
    "image_url_invalid": [
        *(
            Case(
                _prefixed(with_image(bad)),
                2,
                "/messages/0/content/1/image_url/url",
                jsonl(with_image(PNG), with_image(JPEG), with_image(WEBP)),
            )
            for bad in BAD_BASE64
        ),
        Case(_prefixed(with_image("cat.png")), 2, "/messages/0/content/1/image_url/url", jsonl(with_image(PNG))),
        Case(_prefixed(with_image(5)), 2, "/messages/0/content/1/image_url", jsonl(with_image("https://a.b/c.png"))),
        Case(
            _prefixed(with_image("data:image/png;base64,***")), 2, "/messages/0/content/1/image_url/url", jsonl(chat())
        ),
        Case(
            _prefixed(with_image(PNG, detail="best")),
            2,
            "/messages/0/content/1/image_url/detail",
            jsonl(with_image(PNG, detail="low")),
        ),
    ],
    "image_type_differs": [
        Case(
            _prefixed(with_image(JPEG.replace("jpeg", "png"))),
            2,
            "/messages/0/content/1/image_url/url",
            jsonl(with_image(JPEG), with_image(PNG), with_image(WEBP), with_image(JPEG.replace("jpeg", "jpg"))),
        )
    ],
    "image_truncated": [
        Case(
            _prefixed(with_image(bad)),
            2,
            "/messages/0/content/1/image_url/url",
            jsonl(with_image(JPEG), with_image(PNG), with_image(WEBP), with_image(LARGE_PNG)),
        )
        for bad in (CUT_PNG, JPEG[:-8], WEBP[:-8])
    ],
    "image_type": [
        Case(_prefixed(with_image(GIF)), 2, "/messages/0/content/1/image_url/url", jsonl(with_image(PNG))),
        Case(
            _prefixed(with_image("https://a.b/c.gif?x=1")),
            2,
            "/messages/0/content/1/image_url/url",
            jsonl(with_image("https://a.b/c.webp")),
        ),
        Case(
            _prefixed(with_image(GIF.replace("image/gif", "image/png"))),
            2,
            "/messages/0/content/1/image_url/url",
            jsonl(with_image(PNG)),
        ),
    ],
    "image_too_large": [
        Case(_prefixed(with_image(LARGE_PNG)), 2, "/messages/0/content/1/image_url/url", jsonl(with_image(PNG)))
    ],
    "too_many_images": [Case(_prefixed(with_image(PNG, count=11)), 2, "/messages", jsonl(with_image(PNG, count=10)))],
    "over_token_limit": [Case(_prefixed(asked("Why?", LONG * 2)), 2, "", OK, {"model": OLD_MODEL})],
    "answer_cut_off": [
        Case(
            _prefixed(asked(LONG * 2, "Yes.")),
            2,
            "/messages/1/content",
            jsonl(asked("Why?", LONG * 2)),
            {"model": OLD_MODEL},
        )
    ],
    "special_token_in_text": [
        Case(_prefixed(asked("The end<|endoftext|>")), 2, "/messages/0/content", jsonl(asked("a <| b |> c")))
    ],
    "duplicate_example": [
        Case(jsonl(*_rows(3), asked("Question number 1?", "Answer number 1.")), 4, "", jsonl(*_rows(3))),
        Case(jsonl(pair(), {key: pair()[key] for key in reversed(pair())}), 2, "", jsonl(pair(), pair("Better."))),
    ],
    "conflicting_answers": [
        Case(jsonl(asked("Why?", "So."), asked("Why?", "Thus.")), 2, "", jsonl(asked("Why?"), asked("Why?"))),
        Case(
            jsonl(completion("a ->", " b"), completion("a ->", " c")),
            2,
            "",
            jsonl(completion("", " b"), completion("", " c")),
        ),
    ],
    "identical_answers": [
        Case(
            jsonl(*[asked(f"Question {index}", "Please ask our support team.") for index in range(3)]),
            1,
            "",
            jsonl(*[asked(f"Question {index}", "yes") for index in range(3)]),
        )
    ],
    "system_prompts_differ": [
        Case(
            jsonl(chat(), chat(message("system", "Be long."), message("user"), message("assistant"))),
            2,
            "/messages/0",
            jsonl(chat(), chat()),
        )
    ],
    "system_missing": [
        Case(jsonl(chat(), asked()), 2, "/messages", jsonl(chat())),
        Case(jsonl(asked(), asked("Who?")), 1, "/messages", jsonl(chat(message("developer"), *asked()["messages"]))),
    ],
    "label_imbalance": [
        Case(
            jsonl(*[asked(f"Text {index}", "no" if index % 10 == 9 else "yes") for index in range(40)]),
            1,
            "",
            jsonl(*LABELLED),
        )
    ],
    "label_variants": [
        Case(
            jsonl(*[asked(f"Text {index}", ["yes", "no", "Yes ", "No"][index % 4]) for index in range(40)]),
            3,
            "",
            jsonl(*LABELLED),
        )
    ],
    "repeated_opening": [
        Case(
            jsonl(*[asked(f"Question {index}", f"Based on the facts it is number {index}.") for index in range(30)]),
            1,
            "",
            jsonl(*[asked(f"Question {index}", f"Number {index} is what it is, as ever.") for index in range(30)]),
        )
    ],
    "mixed_languages": [
        Case(
            jsonl(
                *[
                    asked(f"Q {index}", "An answer in English." if index % 2 else "这是中文的回答。")
                    for index in range(30)
                ]
            ),
            2,
            "",
            jsonl(*[asked(f"Q {index}", f"这是中文的回答{index}。") for index in range(30)]),
        )
    ],
    "length_outlier": [Case(jsonl(*_rows(30), asked("And this?", "A long answer. " * 400)), 31, "", jsonl(*_rows(30)))],
    "low_variety": [
        Case(
            jsonl(*[asked(f"Question {index % 3}", f"Answer {index}") for index in range(30)]), 1, "", jsonl(*_rows(30))
        )
    ],
    "filler_opening": [
        Case(_prefixed(asked("Why?", text)), 2, "/messages/1/content", jsonl(asked("Why?", other)))
        for text, other in (
            ("Sure! It rains.", "Surely it rains."),
            ("Of course, it rains.", "Of course"),
            ("Certainly! Here it is.", "Certainly not every day."),
            ("好的,我来回答。", "好的方法有三种。"),
            ("没问题!这样做。", "没问题的人很少"),
            ("当然可以。请看。", "可以这样做。"),
            ("好的\uff0c我来回答。", "回答如下。"),
            ("I'd be happy to help! Do this.", "I'd say this."),
            ("Great question! It is 4.", "Great cities are many."),
        )
    ],
    "filler_opening_share": [
        Case(jsonl(*[asked(f"Q {index}", f"Sure! It is {index}.") for index in range(30)]), 1, "", jsonl(*_rows(30)))
    ],
    "refusal": [
        Case(_prefixed(asked("Why?", text)), 2, "/messages/1/content", jsonl(asked("Why?", other)))
        for text, other in (
            ("I'm sorry, but I can't help with that.", "I'm sorry to hear that."),
            ("As an AI language model, I do not.", "As an aide he came."),
            ("抱歉\uff0c我无法回答这个问题。", "抱歉让您久等。"),
        )
    ],
    "refusal_share": [
        Case(
            jsonl(*[asked(f"Q {index}", f"I cannot help with {index}.") for index in range(30)]),
            1,
            "",
            jsonl(*_rows(30)),
        )
    ],
    "answer_cut_mid_sentence": [
        Case(_prefixed(asked("Why?", CUT)), 2, "/messages/1/content", jsonl(asked("Why?", CUT + " solid."))),
        Case(
            _prefixed(
                asked("Why?", "这个问题有三个原因。第一个原因是天气太冷。第二个原因是水面上的温度下降得比较快所以")
            ),
            2,
            "/messages/1/content",
            jsonl(
                asked("Why?", "Here is the list that you wanted to have:\n- a first thing\n- a second thing of them")
            ),
        ),
        Case(
            _prefixed(
                asked("Why?", "Here is the code that does it for you:\n```python\nfor line in lines:\n    print(")
            ),
            2,
            "/messages/1/content",
            jsonl(asked("Why?", "Here is the code that does it for you:\n```python\nprint(1)\n```")),
        ),
    ],
    "mojibake": [
        Case(_prefixed(asked(text)), 2, "/messages/0/content", jsonl(asked("Über été Âge, œuvre, naïve, são â")))
        for text in (
            "cafÃ© au lait",
            "itâ€™s",
            "bad \ufffd char",
            "锟斤拷",
            "РџСЂРёРІРµС‚",
            "СЃРІРѕР±РѕРґР°",
            "Î•Î»Î»Î¬Î´Î±",
            "ä¸\xadæ–‡",
            "Tiáº¿ng Viá»‡t",
            "–ü—Ä–∏–≤–µ—Ç –º–∏—Ä",
            "┬┐Qu├⌐ tal?",
            "Ã\u0083Â¼ber",
            "Ãƒâ€šÃ‚Â£5",
            "ÖÐÎÄ",
            "‚±‚ñ‚É‚¿‚Í",
            "ÇÑ±¹¾î·Î",
            "оПХБЕР, ЙЮЙ ДЕКЮ?",
            "Ïðèâåò, êàê äåëà?",
            "ÊáëçìÝñá óáò",
        )
    ],
    "c1_control": [
        Case(_prefixed(asked(text)), 2, "/messages/0/content", jsonl(asked("don’t – wait…", "cafÃ© \u0092")))
        for text in ("don\u0092t", "wait \u0096 now", "and so on\u0085", "next\u0081")
    ],
    "control_character": [
        Case(_prefixed(asked("bell \x07")), 2, "/messages/0/content", jsonl(asked("tab\t and line\r\n"))),
        Case(_prefixed(asked("nul \x00")), 2, "/messages/0/content", OK),
    ],
    "unescaped_backslash": [
        Case(_prefixed(asked(text)), 2, "/messages/0/content", jsonl(asked(silent)))
        for text, silent in (
            ("Halve $\frac{\beta}{2}$", "page\fbreak"),
            ("The angle $\theta$ is", "It costs $5\tan apple\t$6"),
            ("C:\temp\bin", "Q:\tempo\nA:\nu"),
            ("the expression \bword\b", "N\bNA\bA"),
            ("\alpha and \varepsilon", "bell \a"),
        )
    ],
    "invisible_character": [
        Case(_prefixed(asked("a\u200bกา")), 2, "/messages/0/content", jsonl(asked("สวัสดี\u200bครับ"))),
        Case(_prefixed(asked("plain \u2066text")), 2, "/messages/0/content", jsonl(asked("שלום \u2066abc\u2069"))),
        Case(
            _prefixed(asked("zero\u200bwidth")),
            2,
            "/messages/0/content",
            jsonl(asked("می\u200cخواهم \U0001f468\u200d\U0001f469")),
        ),
        Case(_prefixed(asked("rtl \u202e txt")), 2, "/messages/0/content", OK),
    ],
    "secret_found": [
        Case(
            _prefixed(asked(f"My key is {secret} ok")),
            2,
            "/messages/0/content",
            jsonl(asked("sk-learn is a ghp_ name")),
        )
        for secret in (
            KEY,
            "AKIA" + "ABCDEFGH12345678",
            "ghp_" + "a1B2" * 9,
            "xoxb-" + "123456789012-abcdef",
            "AIza" + "a1B2c3D" * 5,
            "eyJhbGciOiJIUzI1NiJ9." + "eyJzdWIiOiIxMjM0NTYifQ." + "abcdefghijk",
            "-----BEGIN RSA " + "PRIVATE KEY-----\nMIIEow\n-----END RSA PRIVATE KEY-----",
            "sk_" + "live_a1b2c3d4e5f6g7h8i9",
        )
    ],
    "personal_email": [
        Case(
            _prefixed(asked("Mail ann.lee@corp-mail.co.uk now")),
            2,
            "/messages/0/content",
            jsonl(asked("a@example.com x@y")),
        )
    ],
    "personal_card": [
        Case(
            _prefixed(asked("Card 4111 1111 1111 1111 please")),
            2,
            "/messages/0/content",
            jsonl(asked("Order 4111 1111 1111 1112 please")),
        )
    ],
    "personal_national_id": [
        Case(
            _prefixed(asked("身份证号 11010519491231002X 。")),
            2,
            "/messages/0/content",
            jsonl(asked("编号 110105194912310021 。")),
        ),
        Case(_prefixed(asked("SSN 123-45-6789.")), 2, "/messages/0/content", jsonl(asked("SSN 000-45-6789."))),
    ],
    "personal_phone": [
        Case(
            _prefixed(asked(f"Call {number} now")),
            2,
            "/messages/0/content",
            jsonl(asked("In 2026 we made 123456789 of 5.")),
        )
        for number in ("+1 415 555 2671", "13812345678", "(415) 555-2671", "010-62345678", "+49 30 901820")
    ],
}
