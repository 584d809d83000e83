"""What an ODS file says of its cells besides their values: the text that is shown for a number, errors, merged cells.

Source: OpenDocument 1.3 part 3, 9.1 (tables) and 19.385 (`office:value-type`). The text of a cell is what the program
that wrote the file has shown, so percentages, currencies and durations read as they did there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from html import unescape

from service.datasets.preparation.readers.number_format import Shown
from service.datasets.preparation.readers.sheet_rows import RowTraits, Span, Trait
from service.datasets.preparation.readers.sheet_size import ATTRIBUTES, whole_tags

_PART = re.compile(
    rb"<table:table\s(?P<table>" + ATTRIBUTES + rb")>|<table:table-row(?P<attributes>(?:\s" + ATTRIBUTES
    + rb")?)>(?:(?P<cells>.*?)</table:table-row>)?",
    re.DOTALL,
)  # fmt: skip
_EMPTY_ROW = re.compile(rb"<table:table-row(?:\s" + ATTRIBUTES + rb")?/>")
_CELL = re.compile(rb"<table:(?:covered-)?table-cell(?=[\s/>])(" + ATTRIBUTES + rb")>")
_INTERESTING = re.compile(rb"value-type=\"(?:percentage|currency|float|time|error)\"|-spanned=")
_SHOWN = re.compile(rb"office:value-type=\"(?:percentage|currency|float|time)\"")
_NAME = re.compile(rb"table:name=\"([^\"]*)\"")
_REPEATED = re.compile(rb"table:number-(?:rows|columns)-repeated=\"0*(\d{1,7})\"")
_ROWS_SPANNED = re.compile(rb"table:number-rows-spanned=\"0*(\d{1,7})\"")
_COLUMNS_SPANNED = re.compile(rb"table:number-columns-spanned=\"0*(\d{1,5})\"")
_ANNOTATION = re.compile(rb"<office:annotation\b.*?</office:annotation>", re.DOTALL)
_PARAGRAPH = re.compile(rb"<text:p(?:\s[^<>]*)?>(.*?)</text:p>", re.DOTALL)
_TAG = re.compile(rb"<[^<>]*>")
_MAX_REPEATED_CELLS = 16_384
_ROW_END = b"table:table-row>"


def rows_with_traits(pieces: Iterable[bytes], sheet: str) -> Iterator[tuple[int, RowTraits]]:
    """The traits of the rows of a sheet, which are numbered from 1."""
    wanted = sheet.encode()
    is_wanted, row = False, 0
    for rows in _whole_rows(pieces):
        for part in _PART.finditer(rows):
            if part.group("table") is not None:
                name = _NAME.search(part.group("table"))
                is_wanted, row = name is not None and unescape(name.group(1).decode()) == wanted.decode(), 0
                continue
            if not is_wanted:
                continue
            attributes, cells = part.group("attributes"), part.group("cells")
            times, hidden = _number(_REPEATED, attributes), b'visibility="' in attributes
            if cells is not None and (hidden or _INTERESTING.search(cells) is not None):
                traits = _traits(cells, hidden)
                for number in range(row + 1, row + 1 + times):
                    yield number, traits
            row += times


def _whole_rows(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes in pieces that end with a row. Rows without cells get an end, too."""
    unfinished: list[bytes] = []
    for piece in whole_tags(pieces):
        cut = piece.rfind(_ROW_END) + len(_ROW_END)
        if cut >= len(_ROW_END):
            yield _closed(b"".join((*unfinished, piece[:cut])))
            unfinished = [piece[cut:]]
        else:
            unfinished.append(piece)
    yield _closed(b"".join(unfinished))


def _closed(rows: bytes) -> bytes:
    return _EMPTY_ROW.sub(lambda tag: tag.group()[:-2] + b"></table:table-row>", rows)


def _traits(cells: bytes, hidden: bool) -> RowTraits:
    traits: dict[int, Trait] = {}
    spans: list[Span] = []
    column = 0
    tags = list(_CELL.finditer(cells))
    for at, tag in enumerate(tags):
        attributes = tag.group(1)
        times = _number(_REPEATED, attributes)
        content = cells[tag.end() : tags[at + 1].start() if at + 1 < len(tags) else len(cells)]
        trait = _trait(attributes, content)
        if trait is not None:
            traits.update(dict.fromkeys(range(column, column + min(times, _MAX_REPEATED_CELLS)), trait))
        if b"-spanned=" in attributes:
            rows, columns = _number(_ROWS_SPANNED, attributes), _number(_COLUMNS_SPANNED, attributes)
            if rows * columns > 1:
                spans.append(Span(column, rows, columns))
        column += times
    return RowTraits(traits, spans, hidden)


def _trait(attributes: bytes, content: bytes) -> Trait | None:
    if b'calcext:value-type="error"' in attributes:
        return "error"
    if _SHOWN.search(attributes) is None:
        return None
    paragraphs = _PARAGRAPH.findall(_ANNOTATION.sub(b"", content))
    text = unescape(_TAG.sub(b"", b"\n".join(paragraphs)).decode("utf-8", "replace"))
    return Shown(text, is_rounded=False) if text.strip() else None


def _number(pattern: re.Pattern[bytes], attributes: bytes) -> int:
    found = pattern.search(attributes)
    return max(1, int(found.group(1))) if found is not None else 1
