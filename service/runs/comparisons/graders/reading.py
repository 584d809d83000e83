"""Reading the JSON of an answer, and telling whether two values are the same."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec


class NotJson(Exception):
    """A text is not one JSON value; the argument says why."""


def read_json(text: str) -> Any:
    """The one JSON value that a text is. Raises `NotJson`."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise NotJson(str(error)[:120].rstrip(".")) from None


def canonical(value: Any, *, any_order: bool = False) -> bytes:
    """Bytes that are equal for equal JSON values: in any order of keys, 1.0 as 1, and true never as 1.

    With `any_order` lists are equal with their items in another order too. Raises `NotJson` for one nested too deep.
    """
    try:
        return msgspec.json.encode(_plain(value, any_order), order="sorted")
    except RecursionError:
        raise NotJson("It is nested too deep") from None


def shared_leaves(one: Any, other: Any, *, any_order: bool = False) -> float:
    """The share of the values inside that two JSON values have in common, from 0 to 1; 1 where they are equal.

    A value counts with its path; an item of a list by its place, or by its path alone with `any_order`.
    """
    mine, theirs = _leaves(one, any_order), _leaves(other, any_order)
    union = (mine | theirs).total()
    return (mine & theirs).total() / union if union else 1.0


def _plain(value: Any, any_order: bool) -> Any:
    match value:
        case dict():
            return {key: _plain(inner, any_order) for key, inner in value.items()}
        case list():
            items = [_plain(inner, any_order) for inner in value]
            return sorted(items, key=lambda item: msgspec.json.encode(item, order="sorted")) if any_order else items
        case float() if value.is_integer():
            return int(value)
    return value


def _leaves(value: Any, any_order: bool) -> Counter[tuple[str, bytes]]:
    found: Counter[tuple[str, bytes]] = Counter()
    stack: list[tuple[str, Any]] = [("", value)]
    while stack:
        path, here = stack.pop()
        if isinstance(here, dict) and here:
            stack += [(f"{path}/{key.replace('~', '~0').replace('/', '~1')}", inner) for key, inner in here.items()]
        elif isinstance(here, list) and here:
            stack += [(f"{path}/-" if any_order else f"{path}/{at}", inner) for at, inner in enumerate(here)]
        else:
            found[path, msgspec.json.encode(_plain(here, any_order))] += 1
    return found
