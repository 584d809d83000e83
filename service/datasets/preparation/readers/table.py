"""Reads CSV and TSV, and makes rows of the records of any table.

Source of the format: RFC 4180. Cells may contain line breaks and quotes; `dialect` and `header` detect the rest.
"""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from service.datasets.preparation.outcome import Guess
from service.datasets.preparation.readers.dialect import (
    DELIMITER_SIGN,
    QUOTE_SIGN,
    RETURN_SIGN,
    Dialect,
    detect,
    escaped_line,
    given_delimiter,
    separator_line,
)
from service.datasets.preparation.readers.header import Record, find_header
from service.datasets.preparation.readers.reading import Reading, Source
from service.datasets.preparation.readers.text import MAX_LINE_BYTES, Text
from service.datasets.preparation.refusals import PreparationRefused

MAX_RECORD_CHARS = 32 << 20
MAX_RECORD_LINES = 100_000
_HEAD_LINES = 300
_HEAD_CHARS = 1 << 20
_QUOTE_MISSING = "if that is too many, a quote is not closed there"
_QUOTE_INSIDE = "expected after"
_FAULTS = {
    "unexpected end of data": "a cell opens with a quote that is never closed",
    _QUOTE_INSIDE: "a quote stands inside a quoted cell; write it twice",
    "field limit": f"a cell is larger than {MAX_LINE_BYTES:,} characters; {_QUOTE_MISSING}",
}


def read_delimited(reading: Reading, text: Text, *, expected: str | None, kind: str) -> Source:
    """A CSV or TSV file; rows are numbered as spreadsheets do, the first being row 1. `expected` is the delimiter that
    the file's name implies.
    """
    given = given_delimiter(reading.options.delimiter) if reading.options.delimiter is not None else None
    lines = _Lines(line for _, line in text.lines(blank=True))
    head = lines.head()
    named = separator_line(head[0]) if head else None
    if named is not None:
        lines.skip()
        head = head[1:]
    detected = detect(head, given=given, named=named or None, expected=expected)
    text.notes.extend(detected.notes)
    source = open_table(reading, _records(reading, lines, detected.dialect), kind=kind, notes=text.notes)
    source.encoding, source.delimiter = text.guess, detected.guess
    return source


def open_table(
    reading: Reading,
    records: Iterator[Record],
    *,
    kind: str,
    notes: list[str],
    depths: dict[int, int] | None = None,
) -> Source:
    """The rows of numbered records of cells, whose header is found (`find_header`). `notes` become those of the source
    and may grow until the last record. Raises `PreparationRefused`.
    """
    header = find_header(records, reading.options, notes, depths=depths)
    if header is None:
        reading.problems.check()
        raise PreparationRefused("The table is empty: it has no header row.")
    return Source(
        kind=kind,
        encoding=Guess(value="utf-8", certainty="certain"),
        unit="row",
        rows=table_rows(reading, header.names, header.records),
        columns=header.names,
        header=header.guess,
        notes=notes,
    )


def table_rows(
    reading: Reading, columns: list[str], records: Iterable[tuple[int, Sequence[str]]]
) -> Iterator[tuple[int, dict[str, str]]]:
    """Rows as texts by column. Blank rows are recorded and skipped; more cells than columns are a problem."""
    width = len(columns)
    for number, cells in records:
        if not any(cell.strip() for cell in cells):
            reading.log.dropped("drop_blank_lines", number, "", "The row is blank.")
        elif any(cell.strip() for cell in cells[width:]):
            message = f"it has {len(cells)} cells where the header has {width}; a delimiter may lack its quotes"
            reading.problems.unreadable("row", number, list(cells), message)
        else:
            padded = [*cells[:width], *[""] * (width - len(cells))]
            yield number, dict(zip(columns, padded, strict=True))


class _Lines:
    """The lines of a table for the CSV parser, which joins them to records."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines = lines
        self._read_ahead: deque[str] = deque()
        self._record_chars = 0
        self._record_line = self._line = 0
        self.escaped_for: str | None = None
        self.has_signs = False

    @property
    def number(self) -> int:
        """The number of the last line that was read."""
        return self._line

    def head(self) -> list[str]:
        """The first lines, which are read again afterwards."""
        chars = 0
        for line in islice(self._lines, _HEAD_LINES):
            self._read_ahead.append(line)
            chars += len(line)
            if chars > _HEAD_CHARS:
                break
        return list(self._read_ahead)

    def skip(self) -> None:
        """Leave out the first line that was read ahead."""
        self._read_ahead.popleft()
        self._line += 1

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
        if "\r" in line:
            self.has_signs = True
            line = line.replace("\r", RETURN_SIGN)
        if self.escaped_for is not None and "\\" in line:
            self.has_signs = True
            return escaped_line(f"{line}\n", self.escaped_for)
        return f"{line}\n"


def _records(reading: Reading, lines: _Lines, dialect: Dialect) -> Iterator[Record]:
    csv.field_size_limit(MAX_LINE_BYTES)
    lines.escaped_for = dialect.delimiter if dialect.escaped else None
    parser = csv.reader(lines, delimiter=dialect.delimiter, quotechar=dialect.quote, strict=True)
    number = 0
    while True:
        number, first_line = number + 1, lines.begin_record()
        try:
            cells = next(parser)
        except StopIteration:
            return
        except csv.Error as error:
            fault = next((message for sign, message in _FAULTS.items() if sign in str(error)), str(error))
            begins = f"; the row begins in line {first_line:,}" if lines.number > first_line else ""
            if _QUOTE_INSIDE not in str(error):
                raise PreparationRefused(f"row {number} (near line {lines.number}): {fault}{begins}.") from None
            reading.problems.unreadable("row", number, "", f"{fault} (near line {lines.number}{begins})")
            continue
        yield number, [_without_signs(cell, dialect) for cell in cells] if lines.has_signs else cells


def _without_signs(cell: str, dialect: Dialect) -> str:
    """The cell with the characters that signs replaced for the parser."""
    return cell.replace(RETURN_SIGN, "\n").replace(QUOTE_SIGN, '"').replace(DELIMITER_SIGN, dialect.delimiter)
