"""What strict mode refuses in a schema. Source: OpenAI's guide to structured outputs, "Supported schemas"."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from service.datasets.checks.schema_nodes import subschemas

MAX_LEVELS = 10
MAX_PROPERTIES = 5_000
MAX_ENUM_VALUES = 1_000
_UNSUPPORTED = (
    "allOf", "oneOf", "not", "if", "then", "else", "dependentRequired", "dependentSchemas", "patternProperties",
    "unevaluatedProperties", "propertyNames", "minProperties", "maxProperties", "unevaluatedItems", "contains",
    "minContains", "maxContains", "uniqueItems",
)  # fmt: skip
_UNSUPPORTED_WHEN_TUNED = (
    "minLength", "maxLength", "pattern", "format", "minimum", "maximum", "multipleOf", "minItems", "maxItems",
)  # fmt: skip
"""Keywords that models accept unless they are fine-tuned."""


def strict_faults(schema: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """What strict mode refuses, as (pointer in the schema, message)."""
    properties_count = enum_count = 0
    levels = 0
    if "anyOf" in schema:
        yield "/anyOf", "Strict mode refuses anyOf at the root; make the root an object with one property for it."
    for pointer, each in subschemas(schema):
        properties = each.get("properties")
        if isinstance(properties, dict) or each.get("type") == "object":
            names = properties if isinstance(properties, dict) else {}
            properties_count += len(names)
            levels = max(levels, pointer.count("/properties/") + 1)
            if each.get("additionalProperties") is not False:
                yield pointer, 'Strict mode needs "additionalProperties": false in every object; add it here.'
            required = each.get("required")
            missing = [name for name in names if not isinstance(required, list) or name not in required]
            if missing:
                advice = 'add it, and give an optional one the type ["string", "null"]'
                names_missing = ", ".join(missing)[:80]
                yield (
                    pointer,
                    f"Strict mode needs every property in required, and {names_missing} is not: {advice}.",
                )
        if isinstance(each.get("enum"), list):
            enum_count += len(each["enum"])
        for keyword in _UNSUPPORTED:
            if keyword in each:
                yield f"{pointer}/{keyword}", f"Strict mode refuses {keyword}; remove it."
        for keyword in _UNSUPPORTED_WHEN_TUNED:
            if keyword in each:
                message = f"Strict mode refuses {keyword} for fine-tuned models; move the rule into the description."
                yield f"{pointer}/{keyword}", message
    for count, limit, what in (
        (levels, MAX_LEVELS, "levels of objects"),
        (properties_count, MAX_PROPERTIES, "properties"),
        (enum_count, MAX_ENUM_VALUES, "values in enums"),
    ):
        if count > limit:
            yield "", f"The parameters have {count:,} {what}; strict mode allows {limit:,}."
