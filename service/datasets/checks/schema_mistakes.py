"""The mistakes that people make in JSON Schemas of tools, each with what to write instead.

The schema compiler says only that a value fits no schema; these say what was meant.
"""

from __future__ import annotations

from typing import Any

from service.datasets.checks.schema_nodes import subschemas

_TYPES = ("object", "array", "string", "number", "integer", "boolean", "null")
_MEANT = {
    "str": "string", "text": "string", "char": "string", "date": "string", "datetime": "string", "enum": "string",
    "int": "integer", "long": "integer", "float": "number", "double": "number", "decimal": "number",
    "bool": "boolean", "dict": "object", "map": "object", "json": "object", "list": "array", "tuple": "array",
    "set": "array", "none": "null", "nil": "null",
}  # fmt: skip


def first_mistake(schema: dict[str, Any]) -> str | None:
    """What is wrong and what to write, with the place in the schema; None if it is none of the known mistakes."""
    for pointer, each in subschemas(schema):
        kind = each.get("type")
        for name in kind if isinstance(kind, list) else [kind]:
            if isinstance(name, str) and name not in _TYPES:
                meant = _MEANT.get(name.lower(), name.lower())
                advice = f"write {meant}" if meant in _TYPES else f"it must be one of {', '.join(_TYPES)}"
                return f"{name[:40]!r} is no type of JSON Schema; {advice} (at {pointer[:80]}/type)."
        if "properties" in each and not isinstance(each["properties"], dict):
            return f"properties must be an object of names and schemas (at {pointer[:80]}/properties)."
        required = each.get("required")
        if isinstance(required, bool):
            where = "in the list required of the object around it"
            return f"required must be a list of names; name this property {where} (at {pointer[:80]}/required)."
        if required is not None and not (
            isinstance(required, list) and all(isinstance(name, str) for name in required)
        ):
            return f'required must be a list of names, such as ["city"] (at {pointer[:80]}/required).'
        if "enum" in each and not isinstance(each["enum"], list):
            return f"enum must be a list of values (at {pointer[:80]}/enum)."
    return None
