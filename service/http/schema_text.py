"""Describes in English what a field of a request struct accepts, and finds unknown fields, for error messages. Pure."""

import re
from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import inspect as types


def expected_at(model: type[msgspec.Struct], path: str) -> str | None:
    """What the field at `path` accepts (`hyperparameters.n_epochs`, `integrations[0].type`); None for an unknown path.

    A type says it itself by `Meta(extra={"in_words": …})`, where a pattern would be hard to read.

    >>> expected_at(CreateJob, "hyperparameters.n_epochs")
    "'auto' or a whole number from 1 to 50"
    """
    found: types.Type | None = types.type_info(model)
    for step in re.findall(r"[^.\[\]]+", path):
        found = _inside(found, step) if found is not None else None
    return None if found is None else _describe(found)


def unknown_fields(model: type[msgspec.Struct], value: Any) -> Iterator[str]:
    """The paths, at any depth, of fields in `value` that `model` does not have."""
    return _unknown(types.type_info(model), value, "")


def joined(path: str, name: str) -> str:
    """The path of the field `name` inside the object at `path`."""
    return f"{path}.{name}" if path else name


def _inside(outer: types.Type, step: str) -> types.Type | None:
    match outer:
        case types.StructType(fields=fields):
            return next((field.type for field in fields if field.encode_name == step), None)
        case types.ListType(item_type=item) if step.isdecimal():
            return item
        case types.UnionType(types=members):
            tags = tuple(each.tag for each in members if isinstance(each, types.StructType) and each.tag_field == step)
            if tags:
                return types.LiteralType(tags)
            return next((found for each in members if (found := _inside(each, step)) is not None), None)
        case _:
            return None


def _unknown(expected: types.Type, value: Any, path: str) -> Iterator[str]:
    match expected, value:
        case types.StructType(fields=fields), dict():
            known = {field.encode_name: field.type for field in fields}
            for name, inner in value.items():
                if name in known:
                    yield from _unknown(known[name], inner, joined(path, name))
                elif name != expected.tag_field:
                    yield joined(path, name)
        case types.ListType(item_type=item), list():
            for index, inner in enumerate(value):
                yield from _unknown(item, inner, f"{path}[{index}]")
        case types.UnionType(types=members), _:
            for each in members:
                if not isinstance(each, types.StructType) or _tagged(each, value):
                    yield from _unknown(each, value, path)


def _tagged(each: types.StructType, value: Any) -> bool:
    """Whether the tag of `value` selects this struct of a union; true for a struct without a tag."""
    return each.tag_field is None or (isinstance(value, dict) and value.get(each.tag_field) == each.tag)


def _describe(expected: types.Type) -> str:
    match expected:
        case types.Metadata(extra={"in_words": words}):
            return str(words)
        case types.Metadata(type=inner):
            return _describe(inner)
        case types.UnionType(types=members):
            values = " or ".join(_describe(each) for each in members if not isinstance(each, types.NoneType))
            return f"{values}, or null" if any(isinstance(each, types.NoneType) for each in members) else values
        case types.LiteralType(values=values):
            return " or ".join(f"'{value}'" for value in values)
        case types.IntType(ge=low, le=high):
            return "a whole number" + _range(low, high)
        case types.FloatType(gt=above, le=high):
            return "a number" + _bound(" above ", above) + _bound(", at most " if above is not None else "", high)
        case types.StrType(min_length=low, max_length=high, pattern=pattern):
            length = f" of {low or 0} to {high} characters" if high is not None else ""
            return f"a string{length}" + (f", matching {pattern}" if pattern else "")
        case types.BoolType():
            return "true or false"
        case types.NoneType():
            return "null"
        case types.ListType(item_type=item, min_length=low, max_length=high):
            length = f" of {low or 0} to {high}" if high is not None else f" of at least {low}" if low else ""
            return f"a list{length}, each {_describe(item)}"
        case types.DictType(value_type=types.StrType()):
            return "an object whose values are strings"
        case _:
            return "an object"


def _range(low: int | None, high: int | None) -> str:
    match low, high:
        case None, None:
            return ""
        case None, _:
            return f" of at most {high}"
        case _, None:
            return f" of at least {low}"
        case _:
            return f" from {low} to {high}"


def _bound(text: str, limit: float | None) -> str:
    return "" if limit is None else f"{text}{limit:g}"
