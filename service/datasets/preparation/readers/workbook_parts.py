"""What an XLSX file says of its sheets besides their values: parts, formats of cells, errors, formulas without a value.

The library that reads the values leaves these out. The parts are read piece by piece; of a sheet only the cells of
interest are kept, row by row.

Sources: ECMA-376 part 1, 18.2.27 (`sheets`), 18.8.10 (`cellXfs`), 18.3.1.4 (`c`), 18.3.1.73 (`row`), 18.3.1.13 (`col`).
"""

from __future__ import annotations

import posixpath
import re
import zipfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from html import unescape
from typing import NamedTuple

from service.datasets.preparation.readers.archive import Archive
from service.datasets.preparation.readers.number_format import BUILT_IN, Format, parse_format
from service.datasets.preparation.readers.sheet_rows import RowTraits, Trait
from service.datasets.preparation.readers.sheet_size import ATTRIBUTES, PREFIX, column_number, whole_tags

MAX_PART_BYTES = 32 << 20
"""The most that is read of the lists of sheets and formats; Excel writes some hundred kilobytes."""

_ROW_END = b"row>"
_ATTRIBUTE = re.compile(r"(?:^|\s)([\w:.-]+)\s*=\s*(?:\"([^\"]*)\"|'([^']*)')")
_REFERENCE = rb"(?=[^<>]*\br=[\"']([A-Za-z]{1,3})(\d{1,7})[\"'])"
_ERROR = re.compile(rb"<" + PREFIX + rb"c\s(?=[^<>]*\bt=[\"']e[\"'])" + _REFERENCE)
_FORMULA = re.compile(
    rb"<" + PREFIX + rb"c\s(?![^<>]*\bt=[\"'](?:str|e)[\"'])" + _REFERENCE + rb"[^<>]*>\s*<" + PREFIX
    + rb"f\b(?:[^<>]*/>|[^<>]*>[^<]*</[^<>]*>)\s*(?:<" + PREFIX + rb"v>\s*(0?)\s*</[^<>]*>|<" + PREFIX
    + rb"v\s*/>|())\s*</"
)  # fmt: skip
_HIDDEN_ROW = re.compile(rb"<" + PREFIX + rb"row\s[^<>]*\bhidden=[\"'](?:1|true)[\"']")
_HIDDEN_COLUMN = re.compile(rb"<" + PREFIX + rb"col\s[^<>]*\bhidden=[\"'](?:1|true)[\"'][^<>]*>")


class Package(NamedTuple):
    """The parts of sheets by the sheets' names, the formats of cells by number, and whether the program that wrote the
    file left the calculation of its formulas to the one that opens it.
    """

    parts: dict[str, zipfile.ZipInfo]
    formats: dict[int, Format]
    is_uncalculated: bool


def read_package(archive: Archive) -> Package:
    """The package of a workbook; empty for other kinds of workbooks."""
    entries = {entry.filename: entry for entry in archive.entries}
    workbook = next((name for name in entries if posixpath.basename(name).lower() == "workbook.xml"), None)
    if workbook is None:
        return Package({}, {}, False)
    folder = posixpath.dirname(workbook)
    text = _text(archive, entries[workbook])
    relations = entries.get(posixpath.join(folder, "_rels", "workbook.xml.rels"))
    targets = {
        tag.get("Id", ""): posixpath.normpath(posixpath.join("/" + folder, tag.get("Target", ""))).lstrip("/")
        for tag in _tags(_text(archive, relations), "Relationship")
    }
    parts = {}
    for tag in _tags(text, "sheet"):
        id = next((value for name, value in tag.items() if name.endswith(":id") or name == "id"), "")
        entry = entries.get(targets.get(id, ""))
        if entry is not None:
            parts[tag.get("name", "")] = entry
    styles = next((entry for name, entry in entries.items() if name.lower().endswith("styles.xml")), None)
    uncalculated = any(tag.get("fullCalcOnLoad") in ("1", "true") for tag in _tags(text, "calcPr"))
    return Package(parts, _formats(_text(archive, styles)), uncalculated)


def rows_with_traits(
    pieces: Iterable[bytes], package: Package, counts: Counter[str]
) -> Iterator[tuple[int, RowTraits]]:
    """The traits of the rows of a sheet, numbered from 1. `counts` gets the numbers of hidden rows and columns."""
    formats = _format_pattern(package.formats)
    for rows in _whole_rows(pieces):
        found: defaultdict[int, dict[int, Trait]] = defaultdict(dict)
        if formats is not None:
            for letters, row, style in formats.findall(rows):
                found[int(row)][column_number(letters) - 1] = package.formats[int(style)]
        if b"t=" in rows:
            for letters, row in _ERROR.findall(rows):
                found[int(row)][column_number(letters) - 1] = "error"
        if b"f" in rows and _FORMULA.search(rows) is not None:
            for letters, row, value, _ in _FORMULA.findall(rows):
                if not value or package.is_uncalculated:
                    found[int(row)][column_number(letters) - 1] = "uncalculated"
        if b"hidden=" in rows:
            counts["hidden rows"] += len(_HIDDEN_ROW.findall(rows))
            counts["hidden columns"] += sum(map(_columns, _HIDDEN_COLUMN.findall(rows)))
        for row in sorted(found):
            yield row, RowTraits(found[row], [])


def _columns(tag: bytes) -> int:
    attributes = _attributes(tag.decode("utf-8", "replace"))
    first, last = attributes.get("min", ""), attributes.get("max", "")
    return int(last) - int(first) + 1 if first.isdigit() and last.isdigit() and len(first + last) < 20 else 1


def _format_pattern(formats: dict[int, Format]) -> re.Pattern[bytes] | None:
    if not formats:
        return None
    numbers = "|".join(map(str, formats)).encode()
    return re.compile(rb"<" + PREFIX + rb"c\s" + _REFERENCE + rb"(?=[^<>]*\bs=[\"'](" + numbers + rb")[\"'])")


def _whole_rows(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes in pieces that end with a row."""
    unfinished: list[bytes] = []
    for piece in whole_tags(pieces):
        cut = piece.rfind(_ROW_END) + len(_ROW_END)
        if cut >= len(_ROW_END):
            yield b"".join((*unfinished, piece[:cut]))
            unfinished = [piece[cut:]]
        else:
            unfinished.append(piece)
    yield b"".join(unfinished)


def _formats(styles: str) -> dict[int, Format]:
    """The formats of cells that change how a number or a time reads, by the number of the style."""
    codes = dict(BUILT_IN)
    for tag in _tags(styles, "numFmt"):
        number = tag.get("numFmtId", "")
        if number.isdigit() and len(number) < 10:
            codes[int(number)] = tag.get("formatCode", "")
    start = re.search(r"<(?:[\w.-]+:)?cellXfs\b", styles)
    end = re.search(r"</(?:[\w.-]+:)?cellXfs>", styles)
    if start is None or end is None:
        return {}
    found = {}
    parsed: dict[str, Format | None] = {}
    for place, tag in enumerate(_tags(styles[start.end() : end.start()], "xf")):
        number = tag.get("numFmtId", "0")
        code = codes.get(int(number)) if number.isdigit() and len(number) < 10 else None
        if code is not None:
            if code not in parsed:
                parsed[code] = parse_format(code)
            if (format := parsed[code]) is not None:
                found[place] = format
    return found


def _text(archive: Archive, entry: zipfile.ZipInfo | None) -> str:
    data: list[bytes] = []
    if entry is not None:
        for piece in archive.read(entry):
            data.append(piece)
            if sum(map(len, data)) > MAX_PART_BYTES:
                return ""
    return b"".join(data).decode("utf-8", "replace")


def _tags(text: str, name: str) -> Iterator[dict[str, str]]:
    """The attributes of each tag with a name, whatever its prefix."""
    pattern = re.compile(rf"<(?:[\w.-]+:)?{name}\s({ATTRIBUTES.decode()})>")
    return (_attributes(tag) for tag in pattern.findall(text))


def _attributes(tag: str) -> dict[str, str]:
    return {name: unescape(first or second) for name, first, second in _ATTRIBUTE.findall(tag)}
