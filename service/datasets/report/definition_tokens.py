"""Estimates the number of tokens of tool definitions.

Source of the rule and its constants: OpenAI cookbook, "How to count tokens with tiktoken", section 7
(`num_tokens_for_tools`). That rule covers flat parameters only; here it is applied to nested objects and arrays level
by level.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

_PROPERTIES = 3
_PROPERTY = 3
_ENUM = -3
_ENUM_ITEM = 3
_END = 12
_FUNCTION = {"o200k_base": 7, "cl100k_base": 10}
_MAX_DEPTH = 32


def definition_tokens(definitions: list[Any], count: Callable[[str], int], encoding: str) -> int:
    """The tokens of all function definitions of one example; entries that are not objects count as 0.

    `count` returns the number of tokens in one text.
    """
    total = 0
    for function in definitions:
        if not isinstance(function, dict):
            continue
        name, description = _text(function.get("name")), _text(function.get("description")).rstrip(".")
        total += _FUNCTION.get(encoding, 10) + count(f"{name}:{description}")
        total += _property_tokens(function.get("parameters"), count, 0)
    return total + _END if total else 0


def _property_tokens(schema: object, count: Callable[[str], int], depth: int) -> int:
    if not isinstance(schema, dict) or depth > _MAX_DEPTH:
        return 0
    properties = schema.get("properties")
    if not isinstance(properties, dict) or not properties:
        return _property_tokens(schema.get("items"), count, depth + 1)
    total = _PROPERTIES
    for key, value in properties.items():
        total += _PROPERTY
        if not isinstance(value, dict):
            continue
        values = value.get("enum")
        if isinstance(values, list):
            total += _ENUM + sum(_ENUM_ITEM + count(_text(item)) for item in values)
        type_name, description = _text(value.get("type")), _text(value.get("description")).rstrip(".")
        total += count(f"{key}:{type_name}:{description}") + _property_tokens(value, count, depth + 1)
    return total


def _text(value: object) -> str:
    return value if isinstance(value, str) else "" if value is None else str(value)
