"""Rows inside one JSON object: lists under keys, columns as pandas writes them, rows by id, splits of Hugging Face.

Sources: pandas' `DataFrame.to_json` (orients columns, index, split and table), `DatasetDict.to_dict`, and the rows
that the Hugging Face dataset viewer's API returns.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

from service.datasets.parsing.decode import pointer_token
from service.datasets.parsing.formats import row_format
from service.datasets.shapes.registry import Row, shape_of

_MAX_DEPTH = 4
_SPEAKERS = ("role", "from", "author", "speaker", "user", "sender")


class RowsInside(NamedTuple):
    """The rows that one object contains, by the JSON pointer of their list.

    `layout` is `columns` or `ids` where the object itself is the table: then the pointer is empty. `others` are the
    keys of the object that are no list of rows and have a value.
    """

    layout: Literal["lists", "columns", "ids"]
    by_place: dict[str, list[Row]]
    others: list[str]


def rows_inside(value: Row) -> RowsInside | None:
    """The rows inside an object; None for an object that is a row itself, or has no rows."""
    values = list(value.values())
    are_columns = bool(values) and _are_columns(values)
    if shape_of(value) is not None and (len(values) == 1 or not are_columns):
        return None
    if row_format(value) is not None and not are_columns:
        return None
    if are_columns:
        return RowsInside("columns", {"": _from_columns(value)}, [])
    if frame := _frame(value):
        return RowsInside("lists", frame, [key for key in value if key not in ("data", "columns", "index")])
    if rows := _by_id(values):
        return RowsInside("ids", {"": rows}, [])
    found = dict(_lists(value, "", 1))
    if not found:
        return None
    listed = {place.split("/")[1] for place in found}
    viewer = [place for place, rows in found.items() if all(is_viewer_row(row) for row in rows)]
    if len(viewer) == 1:
        found = {viewer[0]: found[viewer[0]]}
    others = [key for key, item in value.items() if pointer_token(key) not in listed and item not in (None, "", [], {})]
    return RowsInside("lists", found, others)


def is_viewer_row(row: Row) -> bool:
    """Whether it is a row as the Hugging Face dataset viewer's API returns it."""
    return isinstance(row.get("row"), dict) and "row_idx" in row


def is_conversation(value: Any) -> bool:
    """Whether a list is one conversation: every item is a message with a speaker."""
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(item, dict) and any(isinstance(item.get(key), str) for key in _SPEAKERS) for item in value)
    )


def conversation(messages: list[Row]) -> Row:
    """A list of messages as a row, under the key that its shape has."""
    return {"conversations" if "from" in messages[0] else "messages": messages}


def description_of(value: Row) -> str | None:
    """What the object is, if it describes a Hugging Face data set and is not its rows; else None."""
    if "_data_files" in value or "_fingerprint" in value:
        return "the state of a Hugging Face data set (state.json), whose rows are in the .arrow files beside it"
    if (
        isinstance(value.get("features"), dict)
        and not isinstance(value.get("rows"), list)
        and ({"splits", "citation", "description", "license", "download_size", "builder_name"} & value.keys())
    ):
        return "the description of a Hugging Face data set (dataset_info.json), not its rows"
    splits = value.get("splits")
    if value.keys() == {"splits"} and isinstance(splits, list) and all(isinstance(split, str) for split in splits):
        return "the list of splits of a Hugging Face data set (dataset_dict.json), not its rows"
    return None


def _lists(value: Row, pointer: str, depth: int) -> Iterator[tuple[str, list[Row]]]:
    """Every list of objects below an object, with its pointer. A conversation is not a list of rows."""
    for key, item in value.items():
        place = f"{pointer}/{pointer_token(key)}"
        if isinstance(item, list) and item and all(isinstance(row, dict) for row in item) and not is_conversation(item):
            yield place, item
        elif isinstance(item, list) and item and all(is_conversation(row) for row in item):
            yield place, [conversation(row) for row in item]
        elif isinstance(item, dict) and depth < _MAX_DEPTH:
            if item and _are_columns(list(item.values())):
                yield place, _from_columns(item)
            else:
                yield from _lists(item, place, depth + 1)


def _by_id(values: list[Any]) -> list[Row]:
    """The rows of an object whose keys are their ids; none if it is no such object."""
    if len(values) < 2:
        return []
    if all(is_conversation(value) for value in values):
        return [conversation(value) for value in values]
    if not all(isinstance(value, dict) and value for value in values):
        return []
    common = set(values[0]).intersection(*values[1:])
    texts = [key for key in common if all(isinstance(value[key], str) for value in values)]
    are_rows = len(texts) > 1 or all(row_format(value) or shape_of(value) for value in values)
    return values if common and are_rows and not any(_are_columns(list(value.values())) for value in values) else []


def _frame(value: Row) -> dict[str, list[Row]] | None:
    """The rows of a data frame that was written with its columns' names once (`orient="split"`)."""
    columns, data = value.get("columns"), value.get("data")
    if (
        not isinstance(columns, list)
        or not isinstance(data, list)
        or not all(isinstance(name, str) for name in columns)
    ):
        return None
    if not data or not all(isinstance(row, list) and len(row) == len(columns) for row in data):
        return None
    return {"/data": [dict(zip(columns, row, strict=True)) for row in data]}


def _from_columns(value: Row) -> list[Row]:
    columns = list(value.values())
    keys = list(range(len(columns[0]))) if isinstance(columns[0], list) else list(columns[0])
    return [{name: column[key] for name, column in value.items()} for key in keys]


def _are_columns(columns: list[Any]) -> bool:
    if all(isinstance(column, list) for column in columns):
        scalars = not any(isinstance(cell, dict) for column in columns for cell in column[:20])
        return scalars and len({len(column) for column in columns}) == 1
    if all(isinstance(column, dict) for column in columns):
        keys = [list(column) for column in columns]
        return all(each == keys[0] and all(key.isdecimal() for key in each) for each in keys)
    return False
