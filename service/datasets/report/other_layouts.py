"""The findings about files of JSON that are not JSON Lines, which name the shape of the rows inside.

Only the start of a file is known here, so of an array the first items are read, and of an object all or nothing.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from itertools import islice
from typing import Any

from service.datasets.checks.registry import Hit
from service.datasets.parsing.json_layouts import DESCRIPTIONS as LAYOUTS
from service.datasets.parsing.json_layouts import layout_of
from service.datasets.shapes import Shape, file_shape
from service.datasets.shapes.containers import conversation, description_of, is_conversation, rows_inside
from service.datasets.shapes.folded import CONVERSATIONS, Fold, fold_of, unfolded
from service.datasets.shapes.folded import DESCRIPTIONS as FOLDS
from service.datasets.shapes.registry import Row

_ITEMS = 20
_CONVERTS = "The fix json_to_jsonl converts it."
_DECODER = json.JSONDecoder()


def shape_message(shape: Shape) -> str:
    """The message for rows of another tool's shape."""
    what = f"The rows have the shape of {shape.title} ({shape.keys}), which no upstream accepts."
    if not shape.converts:
        return f"{what} {shape.advice}"
    return f"{what} The fix convert_shape makes {shape.format} examples of them."


def fold_message(fold: Fold) -> str:
    """The message for rows that are inside another row, or whose messages are a text."""
    return f"{FOLDS[fold]}."


def line_layout(head: Sequence[bytes]) -> Hit | None:
    """The hit for lines that are no single objects, or for one object that contains the rows."""
    layout = layout_of(head)
    if layout is not None:
        return Hit("", head[0], f"{LAYOUTS[layout]}; JSON Lines has one object on each line. {_CONVERTS}")
    if len(head) != 1:
        return None
    whole = _decoded(head[0])
    message = _message_inside(whole) if isinstance(whole, dict) else None
    if message is None and isinstance(whole, list) and whole and all(isinstance(item, list) for item in whole):
        message = f"This is one array of arrays. {_CONVERTS}"
    return Hit("", head[0], message) if message is not None else None


def with_rows_inside(hit: Hit, start: bytes) -> Hit:
    """The hit for an array or an object over several lines, with what is known of its rows."""
    text = start.strip()
    if text.startswith(b"["):
        more = _about_rows(_first_items(text))
    else:
        whole = _decoded(text)
        more = _message_inside(whole) if isinstance(whole, dict) else None
    return hit._replace(message=f"{hit.message} {more}") if more else hit


def column_layout(head: Sequence[bytes]) -> str | None:
    """What to say of a table with a column of conversations; None for other files."""
    names = _names(head[0][:4_096].decode("utf-8", "replace")) if head else []
    known = [name.strip() for name in names if name.strip().lower() in CONVERSATIONS]
    if not known or len(head) < 2 or not any(sign in head[1] for sign in (b"[{", b"[ {")):
        return None
    return f"Its column `{known[0]}` contains conversations as texts, which the preparation decodes."


def _names(header: str) -> list[str]:
    try:
        return next(csv.reader([header.strip()]), [])
    except csv.Error:  # such as of a spreadsheet's bytes
        return []


def _message_inside(value: Row) -> str | None:
    description = description_of(value)
    if description is not None:
        return f"This is {description}. Post the rows, such as those of Dataset.to_json."
    inside = rows_inside(value)
    if inside is None:
        return None
    places = ", ".join(place or "its values" for place in inside.by_place)[:400]
    several = " Choose one with the option `sheet`." if len(inside.by_place) > 1 else ""
    rows = next(iter(inside.by_place.values()))[:_ITEMS]
    more = f" {about}" if (about := _about_rows(rows)) else ""
    return f"The rows are inside one object: {places}. {_CONVERTS}{several}{more}"


def _about_rows(rows: list[Row]) -> str | None:
    if not rows:
        return None
    fold = fold_of(rows[0])
    if fold is not None:
        rows = [unfolded(row, fold) for row in rows if fold_of(row) == fold]
    shape = file_shape(rows)
    return shape_message(shape) if shape is not None else fold_message(fold) if fold is not None else None


def _first_items(text: bytes) -> list[Row]:
    """The first items of an array that may go on."""
    decoded = text.decode("utf-8", "replace")
    return [item for item in islice(_items(decoded), _ITEMS) if isinstance(item, dict)]


def _items(text: str) -> Any:
    at = 1
    while True:
        at += len(text[at:]) - len(text[at:].lstrip(" \t\r\n,"))
        try:
            value, at = _DECODER.raw_decode(text, at)
        except (ValueError, RecursionError):
            return
        yield conversation(value) if is_conversation(value) else value


def _decoded(text: bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
