"""What a request struct takes, in words, and what it does not know: for refusals that say what to do. Pure."""

import re
from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import inspect as shapes


def wanted_at(model: type[msgspec.Struct], path: str) -> str | None:
    """What belongs at `path` (`hyperparameters.n_epochs`, `integrations[0].type`), or None for a place unknown here.

    >>> wanted_at(CreateJob, "hyperparameters.n_epochs")
    "'auto' or a whole number from 1 to 50"
    """
    found: shapes.Type | None = shapes.type_info(model)
    for step in re.findall(r"[^.\[\]]+", path):
        found = _inside(found, step) if found is not None else None
    return None if found is None else _words(found)


def unknown_fields(model: type[msgspec.Struct], value: Any) -> Iterator[str]:
    """The paths of the fields in `value`, at any depth, that `model` does not have."""
    return _unknown(shapes.type_info(model), value, "")


def joined(path: str, name: str) -> str:
    """The path of a field inside the object at `path`."""
    return f"{path}.{name}" if path else name


def _inside(outer: shapes.Type, step: str) -> shapes.Type | None:
    match outer:
        case shapes.StructType(fields=fields):
            return next((field.type for field in fields if field.encode_name == step), None)
        case shapes.ListType(item_type=item) if step.isdecimal():
            return item
        case shapes.UnionType(types=types):
            tags = tuple(each.tag for each in types if isinstance(each, shapes.StructType) and each.tag_field == step)
            if tags:
                return shapes.LiteralType(tags)
            return next((found for each in types if (found := _inside(each, step)) is not None), None)
        case _:
            return None


def _unknown(wanted: shapes.Type, value: Any, path: str) -> Iterator[str]:
    match wanted, value:
        case shapes.StructType(fields=fields), dict():
            known = {field.encode_name: field.type for field in fields}
            for name, inner in value.items():
                if name in known:
                    yield from _unknown(known[name], inner, joined(path, name))
                elif name != wanted.tag_field:
                    yield joined(path, name)
        case shapes.ListType(item_type=item), list():
            for index, inner in enumerate(value):
                yield from _unknown(item, inner, f"{path}[{index}]")
        case shapes.UnionType(types=types), _:
            for each in types:
                if not isinstance(each, shapes.StructType) or _tagged(each, value):
                    yield from _unknown(each, value, path)


def _tagged(each: shapes.StructType, value: Any) -> bool:
    """Whether a value is of this one of several structs, as far as its tag says."""
    return each.tag_field is None or (isinstance(value, dict) and value.get(each.tag_field) == each.tag)


def _words(wanted: shapes.Type) -> str:
    match wanted:
        case shapes.UnionType(types=types):
            values = " or ".join(_words(each) for each in types if not isinstance(each, shapes.NoneType))
            return f"{values}, or null" if any(isinstance(each, shapes.NoneType) for each in types) else values
        case shapes.LiteralType(values=values):
            return " or ".join(f"'{value}'" for value in values)
        case shapes.IntType(ge=low, le=high):
            return "a whole number" + _range(low, high)
        case shapes.FloatType(gt=above, le=high):
            return "a number" + _bound(" above ", above) + _bound(", at most " if above is not None else "", high)
        case shapes.StrType(min_length=low, max_length=high, pattern=pattern):
            length = f" of {low or 0} to {high} characters" if high is not None else ""
            return f"a string{length}" + (f", matching {pattern}" if pattern else "")
        case shapes.BoolType():
            return "true or false"
        case shapes.NoneType():
            return "null"
        case shapes.ListType(item_type=item, min_length=low, max_length=high):
            length = f" of {low or 0} to {high}" if high is not None else f" of at least {low}" if low else ""
            return f"a list{length}, each {_words(item)}"
        case shapes.DictType(value_type=shapes.StrType()):
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


def _bound(words: str, limit: float | None) -> str:
    return "" if limit is None else f"{words}{limit:g}"
