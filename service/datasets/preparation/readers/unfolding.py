"""Takes rows out of what they are inside: `row`, `item`, or cells and values that contain JSON as a text."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, islice
from typing import Any

from service.datasets.parsing.json_faults import why_not_json
from service.datasets.preparation.mapping import list_names
from service.datasets.preparation.readers.reading import Reading, Source
from service.datasets.preparation.scratch import NumberedRow, Row, encode
from service.datasets.shapes.folded import CONVERSATIONS, DESCRIPTIONS, Fold, fold_of, unfolded

_HEAD_ROWS = 20
_CELL_CHARS = 32_767
"""The characters of a cell in Excel, which cuts longer texts off."""


def unfold(source: Source, reading: Reading) -> Source:
    """The source with its rows taken out, if all of its first rows are inside something; else as it is.

    Cells that contain lists are no texts, so a table then has rows of JSON: without columns, and without empty cells.
    """
    if source.kind == "txt":
        return source
    head = list(islice(source.rows, _HEAD_ROWS))
    source.rows = chain(head, source.rows)
    folds = {fold_of(row) for _, row in head}
    if len(folds) != 1:
        folds.discard(None)
        if folds != {"text"}:
            return source
    fold = folds.pop()
    if fold is None:
        return source
    in_table, source.columns = source.columns is not None, None
    source.notes.append(f"{DESCRIPTIONS[fold]}.")
    source.rows = _unfolded(source.rows, fold, in_table, source.unit, reading)
    return source


def _unfolded(
    rows: Iterator[NumberedRow], fold: Fold, in_table: bool, unit: str, reading: Reading
) -> Iterator[NumberedRow]:
    """The inner rows. The first is recorded in the diff as an example of all."""
    recorded = False
    for number, row in rows:
        made = {key: value for key, value in row.items() if value != ""} if in_table else row
        own = fold if fold == "text" else fold_of(row)
        if own is not None:
            made = unfolded(made, own)
        if (fault := _fault(row, made)) is not None:
            reading.problems.unreadable(unit, number, row, fault)
        else:
            if not recorded and made != row:
                reading.log.changed("convert_shape", number, encode(row).decode(), encode(made).decode())
                recorded = True
            yield number, made


def _fault(row: Row, made: Row) -> str | None:
    """Why the inner row cannot be read."""
    cut = row.get("truncated_cells") if made is row.get("row") else None
    if isinstance(cut, list) and cut:
        names = list_names([str(name) for name in cut])
        return f"the dataset viewer has cut {names} off; download the files of the data set instead"
    key = next((key for key in CONVERSATIONS if _is_broken(made.get(key))), None)
    if key is None:
        return None
    value: str = made[key]
    if len(value) >= _CELL_CHARS - 1:
        return (
            f"the text in `{key}` has {len(value):,} characters, the limit of a cell in Excel, so its end is missing; "
            "export the rows as JSON Lines"
        )
    return f"the text in `{key}` is neither JSON nor Python's notation{why_not_json(value)}"


def _is_broken(value: Any) -> bool:
    return isinstance(value, str) and value.lstrip().startswith(("[", "array("))
