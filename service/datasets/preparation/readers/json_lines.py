"""Reads JSON Lines, and what is nearly that: several objects on a line, commas behind them, objects in strings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from service.datasets.parsing.decode import MAX_VALUES, decode_line
from service.datasets.parsing.open_records import OpenRecords
from service.datasets.preparation.readers.faulty import why_faulty
from service.datasets.preparation.readers.json_items import Items
from service.datasets.preparation.readers.json_scan import CutOff, json_texts
from service.datasets.preparation.readers.reading import Reading, Source
from service.datasets.preparation.readers.text import Text
from service.datasets.preparation.refusals import PreparationRefused
from service.datasets.preparation.scratch import NumberedRow, encode

_SPLIT = ("invalid_json", "not_an_object")
"""The faults of a line that may be several values, or one inside a string."""


def read_json_lines(reading: Reading, text: Text) -> Source:
    """The rows of the lines. A line that is no object by itself is split into its values, and recorded as changed."""
    notes = text.notes
    items = Items(notes, reading.options.header, max_values=MAX_VALUES)
    open_records = OpenRecords()
    open_records.close()

    def rows() -> Iterator[NumberedRow]:
        for number, line, is_last in _with_last(text.lines(blank=False)):
            data = line.encode("utf-8", "replace")
            row, faults = decode_line(data, 0, line=number, ends_file=is_last)
            if row is not None and not faults:
                open_records.close()
                yield number, row
            elif faults[0].code in _SPLIT and (found := _split(data, items)) is not None:
                reading.log.changed("json_to_jsonl", number, line, "\n".join(encode(each).decode() for each in found))
                open_records.close()
                for each in found:
                    yield number, each
            elif open_records.add(number, data, faults) or "drop_unreadable" in reading.fixes:
                reading.problems.unreadable("line", number, line, why_faulty(line, faults))

    return Source(kind="jsonl", encoding=text.guess, unit="line", rows=rows(), notes=notes)


def _split(line: bytes, items: Items) -> list[dict[str, Any]] | None:
    """The rows of the values on a line; None if one of them is no row."""
    found: list[dict[str, Any]] = []
    whole = line.strip()
    try:
        for text in [whole] if whole.startswith(b"[") and whole.endswith(b"]") else json_texts([line]):
            rows, faults = items.rows(text)
            if faults:
                return None
            found += rows
    except (CutOff, PreparationRefused):
        return None
    return found


def _with_last(lines: Iterator[tuple[int, str]]) -> Iterator[tuple[int, str, bool]]:
    """The lines, each with whether it is the last."""
    before = next(lines, None)
    while before is not None:
        after = next(lines, None)
        yield *before, after is None
        before = after
