"""Parsing and comparing the JSON values of answers."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec


class NotJson(Exception):
    """A text is not a single JSON value; the argument is the reason."""


def read_json(text: str) -> Any:
    """Parse a text that is a single JSON value. Raises `NotJson`."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise NotJson(str(error)[:120].rstrip(".")) from None


def canonical(value: Any, *, any_order: bool = False) -> bytes:
    """Encode a JSON value so that equal values have equal bytes: the order of keys is ignored, 1.0 equals 1, true does
    not.

    With `any_order`, the order of list items is ignored too. Raises `NotJson` for a value that is nested too deep.
    """
    try:
        return msgspec.json.encode(_normalized(value, any_order), order="sorted")
    except RecursionError:
        raise NotJson("It is nested too deep") from None


def shared_leaves(one: Any, other: Any, *, any_order: bool = False) -> float:
    """The share of leaf values that two JSON values have in common, from 0 to 1; equal values give 1.

    Leaves are compared together with their paths; with `any_order`, the path of a list item has no index.
    """
    mine, theirs = _leaves(one, any_order), _leaves(other, any_order)
    union = (mine | theirs).total()
    return (mine & theirs).total() / union if union else 1.0


def _normalized(value: Any, any_order: bool) -> Any:
    match value:
        case dict():
            return {key: _normalized(inner, any_order) for key, inner in value.items()}
        case list():
            items = [_normalized(inner, any_order) for inner in value]
            return sorted(items, key=lambda item: msgspec.json.encode(item, order="sorted")) if any_order else items
        case float() if value.is_integer():
            return int(value)
    return value


def _leaves(value: Any, any_order: bool) -> Counter[tuple[str, bytes]]:
    found: Counter[tuple[str, bytes]] = Counter()
    stack: list[tuple[str, Any]] = [("", value)]
    while stack:
        path, node = stack.pop()
        if isinstance(node, dict) and node:
            stack += [(f"{path}/{key.replace('~', '~0').replace('/', '~1')}", inner) for key, inner in node.items()]
        elif isinstance(node, list) and node:
            stack += [(f"{path}/-" if any_order else f"{path}/{index}", inner) for index, inner in enumerate(node)]
        else:
            found[path, msgspec.json.encode(_normalized(node, any_order))] += 1
    return found
