"""The registry of shapes: what each is called, how a row of it is recognised, and what it is converted to.

A row that is an example of one of the four formats has no shape. So a shape's `recognises` must be false for every
row that the format's checks accept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from service.datasets.report_schema import Format

Row = dict[str, Any]


class CannotConvert(Exception):
    """A row has a known shape, and something in it that its format has no place for; the message says what to do."""


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """One shape of rows.

    `name` is what the option `shape` takes, and `title` what people call it; `keys` describes its rows in a few words.
    `format` is the format of the examples. `convert` makes the examples of one row, one or more, and raises
    `CannotConvert`; it is None for a shape that is recognised only, and `advice` then says what to do. `structure`
    names keys whose values say how a row is built (roles, types) and are translated rather than copied, at any depth.
    """

    name: str
    title: str
    keys: str
    format: Format | None
    recognises: Callable[[Row], bool]
    convert: Callable[[Row], list[Row]] | None = None
    structure: frozenset[str] = frozenset()
    advice: str = ""


SHAPES: dict[str, Shape] = {}
"""The shapes by name, in the order in which they are asked."""


def register(shape: Shape) -> Shape:
    """Adds a shape. Raises ValueError for a name that is taken, and for a shape with neither converter nor advice."""
    if shape.name in SHAPES:
        raise ValueError(f"two shapes have the name {shape.name!r}")
    if shape.convert is None and not shape.advice:
        raise ValueError(f"the shape {shape.name!r} is not converted and gives no advice")
    SHAPES[shape.name] = shape
    return shape


def shape_of(row: Row) -> Shape | None:
    """The first shape that recognises the row, or None. It depends on keys and types, and costs microseconds."""
    return next((shape for shape in SHAPES.values() if shape.recognises(row)), None)


def file_shape(rows: Iterable[Row]) -> Shape | None:
    """The most frequent shape of the rows, if more rows have it than have none; else None."""
    votes: dict[str, int] = {}
    without = 0
    for row in rows:
        shape = shape_of(row)
        if shape is None:
            without += 1
        else:
            votes[shape.name] = votes.get(shape.name, 0) + 1
    if not votes:
        return None
    name, count = max(votes.items(), key=lambda vote: vote[1])
    return SHAPES[name] if count > without else None
