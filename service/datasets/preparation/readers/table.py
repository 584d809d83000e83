"""Reads CSV and TSV, and the header that every table needs: a name for each column.

Source of the format: RFC 4180. Cells may contain line breaks and quotes; the delimiter is detected from the first rows.
"""

from __future__ import annotations

import csv
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from service.datasets.preparation.inputs import Guess
from service.datasets.preparation.readers.reading import Reading, Source
from service.datasets.preparation.readers.text import MAX_LINE_BYTES, Text
from service.datasets.preparation.refusals import PreparationRefused

MAX_COLUMNS = 16_384
"""As in Excel."""

MAX_RECORD_CHARS = 32 << 20
MAX_RECORD_LINES = 100_000
_DELIMITERS = (",", ";", "\t", "|")
_HEAD_LINES = 50
_HEAD_CHARS = 1 << 20
_QUOTE_MISSING = "if that is too many, a quote is not closed there"
_FAULTS = {
    "unexpected end of data": "a cell opens with a quote that is never closed",
    "expected after": "a quote stands inside a quoted cell; write it twice",
    "field limit": f"a cell is larger than {MAX_LINE_BYTES:,} characters; {_QUOTE_MISSING}",
}


def read_delimited(reading: Reading, *, delimiter: str | None, kind: str) -> Source:
    """A CSV or TSV file; rows are numbered as spreadsheets do, the header being row 1."""
    text = Text(reading)
    lines = _Lines(line for _, line in text.lines(blank=True))
    chosen = delimiter or sniff_delimiter(lines.head())
    records = _records(lines, chosen)
    header = next((cells for _, cells in records if any(cell.strip() for cell in cells)), None)
    if header is None:
        reading.problems.check()
        raise PreparationRefused("The table is empty: it has no header row.")
    columns = column_names(header)
    rows = table_rows(reading, columns, records)
    found = Guess(value=chosen, certainty="likely" if delimiter is None else "certain")
    return Source(kind=kind, encoding=text.guess, unit="row", rows=rows, columns=columns, delimiter=found)


def column_names(header: Sequence[str]) -> list[str]:
    """A name for each column; a column without one is named by its position. Duplicates raise `PreparationRefused`.

    Columns without a name at the end of the header are ignored: they are leftovers of formatting.
    """
    names = [cell.strip() for cell in header]
    while names and not names[-1]:
        names.pop()
    if len(names) > MAX_COLUMNS:
        raise PreparationRefused(
            f"row 1: the table has {len(names):,} columns; the limit is {MAX_COLUMNS:,}. Leave out those without use."
        )
    named = [name or f"column_{place}" for place, name in enumerate(names, start=1)]
    name, times = Counter(named).most_common(1)[0]
    if times > 1:
        raise PreparationRefused(f"row 1: two columns are called `{name[:64]}`; rename one of them.")
    return named


def table_rows(
    reading: Reading, columns: list[str], records: Iterable[tuple[int, Sequence[str]]]
) -> Iterator[tuple[int, dict[str, str]]]:
    """Rows as texts by column. Blank rows are recorded and skipped; more cells than columns are a problem."""
    width = len(columns)
    for number, cells in records:
        if not any(cell.strip() for cell in cells):
            reading.log.dropped("drop_blank_lines", number, "", "The row is blank.")
        elif any(cell.strip() for cell in cells[width:]):
            message = f"it has {len(cells)} cells where the header has {width}; is a delimiter missing its quotes?"
            reading.problems.add(f"row {number}", message)
        else:
            padded = [*cells[:width], *[""] * (width - len(cells))]
            yield number, dict(zip(columns, padded, strict=True))


def sniff_delimiter(lines: Sequence[str]) -> str:
    """The delimiter with which most of the first rows have equally many cells; of several the one with most cells."""
    best, best_score = ",", (0.0, 1)
    for delimiter in _DELIMITERS:
        try:
            rows = [row for row in csv.reader([f"{line}\n" for line in lines], delimiter=delimiter) if row]
        except csv.Error:
            continue
        width = len(rows[0]) if rows else 1
        if width > 1:
            even = sum(len(row) == width for row in rows) / len(rows)
            if (even, width) > best_score:
                best, best_score = delimiter, (even, width)
    return best


class _Lines:
    """The lines of a table for the CSV parser, which joins them to records."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines = lines
        self._read_ahead: deque[str] = deque()
        self._record_chars = 0
        self._record_line = self._line = 0

    def head(self) -> list[str]:
        """The first lines, which are read again afterwards."""
        chars = 0
        for line in islice(self._lines, _HEAD_LINES):
            self._read_ahead.append(line)
            chars += len(line)
            if chars > _HEAD_CHARS:
                break
        return list(self._read_ahead)

    def begin_record(self) -> int:
        """The number of the line with which a record begins."""
        self._record_chars, self._record_line = 0, self._line + 1
        return self._record_line

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._read_ahead.popleft() if self._read_ahead else next(self._lines)
        self._line += 1
        self._record_chars += len(line)
        if self._record_chars > MAX_RECORD_CHARS or self._line - self._record_line > MAX_RECORD_LINES:
            raise PreparationRefused(
                f"The row that begins in line {self._record_line:,} has over {MAX_RECORD_CHARS:,} characters or "
                f"{MAX_RECORD_LINES:,} lines; {_QUOTE_MISSING}."
            )
        return f"{line}\n"


def _records(lines: _Lines, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    csv.field_size_limit(MAX_LINE_BYTES)
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    number = 0
    while True:
        number, first_line = number + 1, lines.begin_record()
        try:
            yield number, next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            fault = next((message for sign, message in _FAULTS.items() if sign in str(error)), str(error))
            begins = f"; the row begins in line {first_line:,}" if reader.line_num > first_line else ""
            raise PreparationRefused(f"row {number} (near line {reader.line_num}): {fault}{begins}.") from None
