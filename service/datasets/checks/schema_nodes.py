"""The parts of a JSON Schema that are schemas themselves, each with its JSON pointer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

_NAMED = ("properties", "$defs", "definitions", "patternProperties", "dependentSchemas")
_LISTED = ("anyOf", "oneOf", "allOf", "prefixItems", "items")
_SINGLE = ("items", "additionalProperties", "not", "if", "then", "else", "contains", "propertyNames")


def subschemas(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The schema and every schema in it, from the outside inwards. References are not followed."""
    waiting: list[tuple[str, Any]] = [("", schema)]
    for pointer, each in waiting:
        if not isinstance(each, dict):
            continue
        yield pointer, each
        for keyword in _NAMED:
            inner = each.get(keyword)
            for name, value in inner.items() if isinstance(inner, dict) else ():
                waiting.append((f"{pointer}/{keyword}/{name.replace('~', '~0').replace('/', '~1')}", value))
        for keyword in _LISTED:
            inner = each.get(keyword)
            if isinstance(inner, list):
                waiting += [(f"{pointer}/{keyword}/{at}", value) for at, value in enumerate(inner)]
        waiting += [(f"{pointer}/{keyword}", each[keyword]) for keyword in _SINGLE if keyword in each]
