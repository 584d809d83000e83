"""Cases, and what several of them are made of."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from tests.datasets.rows import (
    asked,
    chat,
    completion,
    jsonl,
    pair,
)
from tests.evaluation.bombs import doubling, many_patterns


class Case(NamedTuple):
    """`found` has the check's code at `line` and `pointer`; `silent` does not have it."""

    found: bytes
    line: int
    pointer: str | None
    silent: bytes
    options: Mapping[str, Any] = MappingProxyType({})


def prefixed(row: dict[str, Any], count: int = 1) -> bytes:
    return jsonl(*[asked(f"Question {index}") for index in range(count)], row)


def input_with(**more: Any) -> dict[str, Any]:
    """A preference row whose input has more keys."""
    return {**pair(), "input": {**pair()["input"], **more}}


def numbered(count: int) -> list[dict[str, Any]]:
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
