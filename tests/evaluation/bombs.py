"""Schemas that cost far more than their bytes show, and arguments on which they do."""

from typing import Any


def doubling(levels: int) -> dict[str, Any]:
    """A schema whose references double at each of the levels."""
    definitions: dict[str, Any] = {
        f"a{level}": {"allOf": [{"$ref": f"#/$defs/a{level + 1}"}] * 2} for level in range(levels)
    }
    return {"$defs": {**definitions, f"a{levels}": {"minProperties": 0}}, "$ref": "#/$defs/a0"}


def many_patterns(count: int) -> dict[str, Any]:
    """A schema with many patterns, each of which becomes a large automaton."""
    return {"type": "object", "properties": {f"p{each}": {"pattern": rf"\pL{{1,15}}x{each}"} for each in range(count)}}


def recursive() -> dict[str, Any]:
    """A schema that is small whatever is counted, and costs 2 to the power of an answer's depth."""
    inner = {"properties": {"c": {"$ref": "#/$defs/n"}}}
    return {"$defs": {"n": {"allOf": [inner, inner]}}, "$ref": "#/$defs/n"}


def nested(depth: int) -> str:
    """JSON on which `recursive` costs that."""
    return '{"c":' * depth + "{}" + "}" * depth
