"""Checks of tools that are valid JSON Schema, or nearly, but that OpenAI's chat API refuses when a request sends them.

Sources of the rules: the errors of the API ("schema must be a JSON Schema of 'type: "object"'", "object schema missing
properties", "array schema missing items"), and for `strict` OpenAI's guide to structured outputs, "Supported schemas".
The API's reference gives no limit for descriptions, so none is checked.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import msgspec

from service.datasets.checks.registry import Hit, example_check
from service.datasets.checks.schema_nodes import subschemas
from service.datasets.checks.strict_schemas import strict_faults
from service.datasets.checks.tools import DECLARING, SECTION, definitions, holders, schema_fault
from service.datasets.parsing.decode import pointer_token

_MAX_HITS = 5
_FUNCTION_KEYS = frozenset({"name", "description", "parameters", "strict"})
_TOOL_KEYS = frozenset({"type", "function"})


@example_check("tool_schema_refused", "warning", SECTION, formats=("chat", "preference"), needs=DECLARING)
def tool_schema_refused(row: dict[str, Any]) -> Iterator[Hit]:
    """OpenAI's chat API refuses the parameters of a tool, though they are JSON Schema: they lack `type: object` or
    `properties`, an array lacks `items`, an `enum` is empty. A name in `required` that is not among the properties is
    reported too. Without `type: object` arguments are checked against nothing.
    """
    for pointer, function in definitions(row):
        parameters = function.get("parameters")
        if isinstance(parameters, dict) and schema_fault(parameters) is None:
            for place, message in _refused(msgspec.json.encode(parameters)):
                yield Hit(f"{pointer}/parameters{place}", parameters, message)


@example_check("tool_strict_schema", "warning", SECTION, formats=("chat", "preference"), needs=DECLARING)
def tool_strict_schema(row: dict[str, Any]) -> Iterator[Hit]:
    """A tool with `strict: true` has parameters that strict mode refuses: an object without `additionalProperties:
    false`, a property that is not in `required`, a keyword such as `allOf`, or too many levels or properties.
    """
    for pointer, function in definitions(row):
        parameters = function.get("parameters")
        if function.get("strict") is True and isinstance(parameters, dict) and schema_fault(parameters) is None:
            for place, message in _refused_when_strict(msgspec.json.encode(parameters)):
                yield Hit(f"{pointer}/parameters{place}", parameters, message)


@example_check("tool_fields", "warning", SECTION, formats=("chat", "preference"), needs=DECLARING)
def tool_fields(row: dict[str, Any]) -> Iterator[Hit]:
    """A tool has a key that the API does not know, a description that is no string, or a `strict` that is not true or
    false.
    """
    for pointer, holder in holders(row):
        tools = holder.get("tools")
        for index, tool in enumerate(tools if isinstance(tools, list) else ()):
            if isinstance(tool, dict) and isinstance(tool.get("function"), dict):
                yield from _unknown(f"{pointer}/tools/{index}", tool, _TOOL_KEYS, "a tool")
    for pointer, function in definitions(row):
        yield from _unknown(pointer, function, _FUNCTION_KEYS, "a function")
        description, strict = function.get("description"), function.get("strict")
        if description is not None and not isinstance(description, str):
            yield Hit(f"{pointer}/description", description, "description must be a string.")
        if strict is not None and not isinstance(strict, bool):
            yield Hit(f"{pointer}/strict", strict, "strict must be true or false, without quotes.")


def _unknown(pointer: str, holder: dict[str, Any], known: frozenset[str], what: str) -> Iterator[Hit]:
    for key in holder:
        if key not in known:
            message = f"The API knows no key {key[:40]!r} in {what}, and refuses it; remove it."
            yield Hit(f"{pointer}/{pointer_token(key)}", holder[key], message)


@lru_cache(maxsize=512)
def _refused(encoded: bytes) -> list[tuple[str, str]]:
    """What the API refuses in parameters, as (pointer in them, message): at most five."""
    schema = msgspec.json.decode(encoded)
    return list(_faults(schema))[:_MAX_HITS]


@lru_cache(maxsize=512)
def _refused_when_strict(encoded: bytes) -> list[tuple[str, str]]:
    return list(strict_faults(msgspec.json.decode(encoded)))[:_MAX_HITS]


def _faults(schema: dict[str, Any]) -> Iterator[tuple[str, str]]:
    if schema.get("type") != "object":
        named = [key for key, value in schema.items() if isinstance(value, dict) and "properties" not in schema]
        if named and "$ref" not in schema and "$defs" not in named:
            names = ", ".join(named)[:80]
            advice = 'write {"type": "object", "properties": {…}} around them'
            yield "", f"The parameters have the properties {names} where keywords belong; {advice}."
        else:
            yield "", 'The parameters need "type": "object"; without it the API refuses the tool.'
    elif not isinstance(schema.get("properties"), dict) and "$ref" not in schema:
        yield "", 'The parameters have no properties; write "properties": {} if the tool takes no arguments.'
    for pointer, each in subschemas(schema):
        kind = each.get("type")
        if (kind == "array" or (isinstance(kind, list) and "array" in kind)) and not {"items", "prefixItems"} & set(
            each
        ):
            yield pointer, 'This array has no items; write "items": {"type": "string"}, or the type that it has.'
        if each.get("enum") == []:
            yield f"{pointer}/enum", "This enum is empty, so no value fits it; list the values or remove it."
        properties, required = each.get("properties"), each.get("required")
        if isinstance(properties, dict) and isinstance(required, list):
            for name in required:
                if name not in properties:
                    yield (
                        f"{pointer}/required",
                        f"required names {str(name)[:40]!r}, which is not among the properties.",
                    )
