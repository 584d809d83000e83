"""How large the sheets of a workbook are, found from their bytes before a library makes a table of them.

A library makes a rectangle of cells that reaches from the first to the last filled one, so one cell in a far corner
costs gigabytes. The scans here read the bytes of a sheet piece by piece and raise `PreparationRefused` as soon as the
rectangle is too large. They recognise what Excel, LibreOffice and the usual libraries write; whatever else there may be
meets the limit of memory.

Sources: ECMA-376 part 1, 18.3.1.4 (`c`) and 18.3.1.73 (`row`); OpenDocument 1.3 part 3, 9.1; [MS-XLSB] 2.1.4, 2.4.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from service.datasets.preparation.refusals import PreparationRefused

MAX_CELLS = 10_000_000
"""An Excel sheet with all of its 1,048,576 rows and nine columns. The library uses 32 bytes for each, and its text."""

_MAX_TAG_BYTES = 64 << 20
_DAMAGED = "A sheet of the workbook is damaged; save it again, or as CSV."
ATTRIBUTES = rb"(?:[^<>\"']++|\"[^\"<]*+\"|'[^'<]*+')*+"
PREFIX = rb"(?:[^\s<>/:=\"']++:)?"
_CELL = re.compile(rb"<" + PREFIX + rb"c(?:\s" + ATTRIBUTES + rb")?/?>")
_CELL_OR_ROW = re.compile(rb"<" + PREFIX + rb"(?:c|(row))(?=[\s/>])")
_REFERENCE = re.compile(rb"\sr\s*=\s*[\"']([A-Za-z]+)0*(\d{1,10})")
_ROW = re.compile(rb"<" + PREFIX + rb"row\s" + ATTRIBUTES + rb">")
_ROW_NUMBER = re.compile(rb"\sr\s*=\s*[\"']0*(\d{1,10})")
_LISTED = re.compile(rb"<" + PREFIX + rb"(?:si|mergeCell)(?=[\s/>])")

_OPENDOCUMENT = re.compile(
    rb"<(table:table-row|table:table-cell|table:covered-table-cell|text:p|table:table)(?=[\s/>])(" + ATTRIBUTES + rb")>"
)
_REPEATED = re.compile(rb"table:number-(?:rows|columns)-repeated\s*=\s*[\"']0*(\d{1,10})")
_VALUE = re.compile(rb"\s(?:office|calcext):")

_ROW_HEADER, _LAST_CELL, _RICH_CELL, _BEGIN_SHEET = 0, 11, 62, b"\x81\x01\x00"


class Rectangle:
    """The rectangle from the first cell of a sheet to the last filled one, and the number of filled cells."""

    def __init__(self) -> None:
        self.rows = self.columns = self.cells = 0

    def include(self, *, row: int, column: int, cells: int) -> None:
        """Extend the rectangle to a row and a column, both counted from 1. Raises `PreparationRefused`."""
        self.rows, self.columns, self.cells = max(self.rows, row), max(self.columns, column), self.cells + cells
        if self.rows * self.columns > MAX_CELLS:
            raise PreparationRefused(
                f"A sheet of the workbook reaches to row {self.rows:,} and column {self.columns:,}; the limit is "
                f"{MAX_CELLS:,} cells. Delete what is far from the table, split the sheet, or save it as CSV."
            )
        if self.cells > MAX_CELLS:
            raise PreparationRefused(
                f"A sheet of the workbook has over {MAX_CELLS:,} cells; split the sheet, or save it as CSV."
            )


def scan_xml(pieces: Iterable[bytes]) -> int:
    """Scan a part of an XLSX file: a sheet, or the texts that sheets share. Cells without content do not count. Returns
    the number of the last row that has content.
    """
    found, listed, row, run, longest = Rectangle(), 0, 0, 0, 0
    for text in whole_tags(pieces):
        listed += len(_LISTED.findall(text))
        if listed > MAX_CELLS:
            raise PreparationRefused(f"The workbook has over {MAX_CELLS:,} texts or merged cells; save it as CSV.")
        tags, openings = _CELL.findall(text), _CELL_OR_ROW.findall(text)
        if len(tags) != openings.count(b""):
            raise PreparationRefused(_DAMAGED)
        numbered = [int(number) for tag in _ROW.findall(text) for number in _ROW_NUMBER.findall(tag)]
        row = max([row, *numbered]) + max(0, openings.count(b"row") - len(numbered))
        filled = [tag for tag in tags if not tag.endswith(b"/>")]
        references = _REFERENCE.findall(b"".join(filled))
        placed = max((int(number) for _, number in references), default=0)
        if len(references) < len(filled):  # a cell without a reference follows the one before
            placed = max(placed, row)
            run, longest = _longest_run(openings, run, longest)
        width = max((column_number(letters) for letters in {letters for letters, _ in references}), default=0)
        found.include(row=placed, column=longest + width, cells=len(filled))
    return found.rows


def scan_opendocument(pieces: Iterable[bytes]) -> None:
    """Scan the content of an ODS file. Repeated cells count each time; empty ones at the end of a row do not."""
    found, row, column, row_times, filled = Rectangle(), 0, 0, 1, 0
    for text in whole_tags(pieces):
        for name, attributes in _OPENDOCUMENT.findall(text):
            if name == b"text:p":
                filled = max(filled, column)
            elif name == b"table:table":
                found, row, column, row_times, filled = Rectangle(), 0, 0, 1, 0
            elif name == b"table:table-row":
                row += row_times
                row_times, column, filled = _times(attributes), 0, 0
            else:
                column += _times(attributes)
                if _VALUE.search(attributes):
                    filled = column
            if filled:
                found.include(row=row + row_times, column=filled, cells=0)


def scan_binary(pieces: Iterable[bytes]) -> None:
    """Scan a part of an XLSB file; parts that are no sheets are skipped."""
    found, row, data, at, is_sheet = Rectangle(), 0, b"", 0, None
    for piece in pieces:
        data, at = data[at:] + piece, 0
        is_sheet = data.startswith(_BEGIN_SHEET) if is_sheet is None else is_sheet
        if not is_sheet:
            return
        while (record := _record(data, at)) is not None:
            kind, start, at = record
            number = int.from_bytes(data[start : start + 4], "little") + 1
            if kind == _ROW_HEADER:
                row = number
            elif 1 < kind <= _LAST_CELL or kind == _RICH_CELL:
                found.include(row=row, column=number, cells=1)
        if len(data) - at > _MAX_TAG_BYTES:
            raise PreparationRefused(_DAMAGED)


def _record(data: bytes, at: int) -> tuple[int, int, int] | None:
    """The type, the start and the end of a record; None if it is not complete yet."""
    if at + 6 > len(data):
        return None
    kind, at = data[at], at + 1
    if kind & 0x80:
        kind, at = kind & 0x7F | (data[at] & 0x7F) << 7, at + 1
    size_bytes = 0
    for place in range(4):
        byte, at = data[at], at + 1
        size_bytes |= (byte & 0x7F) << 7 * place
        if not byte & 0x80:
            break
    return (kind, at, at + size_bytes) if at + size_bytes <= len(data) else None


def whole_tags(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes in pieces that end with a tag. A tag of over 64 MB raises `PreparationRefused`."""
    unfinished: list[bytes] = []
    for piece in pieces:
        cut = piece.rfind(b">") + 1
        if cut:
            yield b"".join((*unfinished, piece[:cut]))
            unfinished = []
        unfinished.append(piece[cut:])
        if sum(map(len, unfinished)) > _MAX_TAG_BYTES:
            raise PreparationRefused(_DAMAGED)


def _longest_run(openings: list[bytes], run: int, longest: int) -> tuple[int, int]:
    """The number of cells since the last row began, and the largest number of cells in a row."""
    for opening in openings:
        run = 0 if opening else run + 1
        longest = max(longest, run)
    return run, longest


def column_number(letters: bytes) -> int:
    """The number of a column from its letters: A is 1, and AA is 27."""
    number = 0
    for letter in letters.upper():
        number = number * 26 + letter - 64
    return number


def _times(attributes: bytes) -> int:
    return max([1, *(int(number) for number in _REPEATED.findall(attributes))])
