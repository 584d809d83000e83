"""The registry of shapes: what each is called, how a row of it is recognised, and what it is converted to.

A row that is an example of one of the four formats has no shape. So a shape's `recognises` must be false for every
row that the format's checks accept.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, BinaryIO, NamedTuple, TypeAlias

import msgspec

from service.datasets.parsing.formats import row_format
from service.datasets.report_schema import Format

Row = dict[str, Any]


class CannotConvert(Exception):
    """A row has a known shape, and something in it that its format has no place for; the message says what to do."""


class NoExample(Exception):
    """A row is no example, as its own tool says (rejected, skipped, not answered); the message says why."""


class NoText(CannotConvert):
    """A row has no text where an example needs one. `drop_empty_messages` drops it."""


class Joined(NamedTuple):
    """An example made of several rows, which are numbered; the first of them gives its place."""

    rows: list[tuple[int, Row]]
    example: Row


class LeftOut(NamedTuple):
    """A row that is in no example, and why. `fault` says that something in the row is wrong."""

    line: int
    row: Row
    reason: str
    fault: bool = False


Join: TypeAlias = Callable[[Iterable[tuple[int, Row]], BinaryIO], Iterator[Joined | LeftOut]]
"""Makes examples of rows that belong together. It gets all rows and an empty scratch file."""


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """One shape of rows.

    `name` is what the option `shape` takes, and `title` what people call it; `keys` describes its rows in a few words.
    `format` is the format of the examples. `convert` makes the examples of one row, one or more, and raises
    `CannotConvert` or `NoExample`; `join` makes them of several rows; with `by_columns` a preparation reads them as a
    table, with a mapping that can be changed. A shape with none of these is recognised only, and `advice` says what to
    do. `note` says what the conversion decides where the shape leaves a choice.

    `in_tables` recognises a row of a table, whose cells are texts; without it tables are read by their columns.
    `resolve` finds in the first rows which of several shapes they have and returns its name; it raises `CannotConvert`
    where that cannot be known.

    `structure` names keys whose values say how a row is built (roles, types) and are translated rather than copied, at
    any depth; one in lower case stands for every case, and `*/role` for one in the objects of a list. `markers` is what
    stands in a text between the parts of which examples are made, such as the names of roles. `only_by_name` is for
    rows that are valid in another format too: the option `shape` must name it.
    """

    name: str
    title: str
    keys: str
    format: Format | None
    recognises: Callable[[Row], bool]
    convert: Callable[[Row], list[Row]] | None = None
    join: Join | None = None
    by_columns: bool = False
    in_tables: Callable[[Row], bool] | None = None
    resolve: Callable[[Sequence[Row]], str] | None = None
    structure: frozenset[str] = frozenset()
    markers: re.Pattern[str] | None = None
    note: str = ""
    advice: str = ""
    only_by_name: bool = False

    @property
    def converts(self) -> bool:
        """Whether rows of the shape become examples."""
        return self.by_columns or any(way is not None for way in (self.convert, self.join, self.resolve))


SHAPES: dict[str, Shape] = {}
"""The shapes by name, in the order in which they are asked."""


def register(shape: Shape) -> Shape:
    """Adds a shape. Raises ValueError for a name that is taken, and for a shape with neither converter nor advice."""
    if shape.name in SHAPES:
        raise ValueError(f"two shapes have the name {shape.name!r}")
    if not shape.converts and not shape.advice:
        raise ValueError(f"the shape {shape.name!r} is not converted and gives no advice")
    SHAPES[shape.name] = shape
    return shape


def shape_of(row: Row, *, table: bool = False) -> Shape | None:
    """The first shape that recognises the row, or None. It depends on keys and types, and costs microseconds."""
    for shape in SHAPES.values():
        recognises = shape.in_tables if table else shape.recognises
        if recognises is not None and not shape.only_by_name and recognises(row):
            return shape
    return None


def file_shape(rows: Iterable[Row], *, table: bool = False) -> Shape | None:
    """The most frequent shape of the rows, if more rows have it than have none; else None.

    A provider's rows and examples can have the same keys (`messages`). Those that are examples do not count then,
    since a conversion leaves them as they are.
    """
    votes: Counter[str] = Counter()
    without: Counter[Format | None] = Counter()
    formats: dict[str, Format | None] = {}
    for row in rows:
        shape, format = shape_of(row, table=table), None if table else row_format(row)
        if shape is None:
            without[format] += 1
        else:
            votes[shape.name] += 1
            formats[shape.name] = format
    if not votes:
        return None
    (name, count), *_ = votes.most_common(1)
    shape = SHAPES[name]
    same_keys = shape.convert is not None and shape.format is not None and formats[name] == shape.format
    return shape if count > without.total() - (without[shape.format] if same_keys else 0) else None
