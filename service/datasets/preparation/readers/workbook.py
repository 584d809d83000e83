"""Reads spreadsheets (XLSX, XLSB, XLS, ODS): the first visible sheet with content, numbers and dates as they are shown.

A library reads them, and makes a table of a whole sheet in memory. So the archive and its sheets are measured before
(`archive`, `sheet_size`); what is not recognised there meets the limit of memory of the process. What the library
leaves out is read beside it (`workbook_parts`, `opendocument_cells`).
"""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import IO, NamedTuple

from python_calamine import (
    CalamineError,
    CalamineSheet,
    CalamineWorkbook,
    PasswordError,
    SheetMetadata,
    SheetTypeEnum,
    SheetVisibleEnum,
)

from service.datasets.preparation.readers.archive import Archive
from service.datasets.preparation.readers.header import Record, has_header_of
from service.datasets.preparation.readers.opendocument_cells import rows_with_traits as opendocument_rows
from service.datasets.preparation.readers.reading import Reading, Source
from service.datasets.preparation.readers.sheet_notes import notes_on_rows, notes_on_sheets
from service.datasets.preparation.readers.sheet_rows import SheetRows, Span
from service.datasets.preparation.readers.sheet_size import scan_binary, scan_opendocument, scan_xml
from service.datasets.preparation.readers.table import open_table
from service.datasets.preparation.readers.workbook_parts import Package, read_package, rows_with_traits
from service.datasets.preparation.refusals import PreparationRefused
from service.processes.guard import guarded

MAX_WORKBOOK_BYTES = 128 << 20
MAX_SHEETS = 1_000
MAX_SEARCHED_SHEETS = 20
"""The sheets in which the columns are searched, where the first one with content has none of known names."""

MAX_SECONDS = 300.0
"""The processor time for measuring a workbook, and for making a table of a sheet. 128 MB take under 60 seconds."""

_HEAD_ROWS = 30
_SHOWN_SHEETS = 20
_EMPTY = Package({}, {}, False)


class _Sheet(NamedTuple):
    """A sheet with content."""

    name: str
    is_visible: bool
    rows: int


def read_workbook(reading: Reading) -> Source:
    """The rows of a sheet with their row numbers: of the one that the options name, or of the first visible one.

    Raises `PreparationRefused` for a workbook that is too large, damaged, protected or empty.
    """
    content = _content(reading)
    try:
        workbook = _Workbook(content)
        chosen, sheet, others = workbook.choose(reading)
        notes = notes_on_sheets(chosen.name, [(each.name, each.rows, each.is_visible) for each in others])
        if others and others[0].is_visible and reading.options.sheet is None and workbook.is_before(others[0], chosen):
            notes.append("It is the first sheet whose columns are named as a question and an answer.")
        rows = workbook.rows(chosen, sheet)
        source = open_table(reading, _records(rows, notes, content), kind="xlsx", notes=notes, depths=rows.depths)
    except BaseException:
        content.close()
        raise
    source.sheet, source.sheets_not_read = chosen.name, [each.name for each in others]
    return source


def _records(rows: SheetRows, notes: list[str], content: IO[bytes]) -> Iterator[Record]:
    """The records; when all are read, the notes say what they needed."""
    with content:
        yield from rows
    notes.extend(notes_on_rows(rows.counts))


class _Workbook:
    """An opened workbook, whose parts are measured before."""

    def __init__(self, content: IO[bytes]) -> None:
        self._content = content
        self._rows: dict[str, int] = {}
        self._package = _EMPTY
        self._is_archive = zipfile.is_zipfile(content)
        with guarded("measuring the workbook", cpu_seconds=MAX_SECONDS):
            if self._is_archive:
                archive = Archive(content)
                self._rows = _measure(archive)
                self._package = read_package(Archive(content))
        with guarded("opening the workbook", cpu_seconds=MAX_SECONDS):
            self._workbook = _open(content.name)
        self._sheets = [sheet for sheet in self._workbook.sheets_metadata if sheet.typ == SheetTypeEnum.WorkSheet]

    def choose(self, reading: Reading) -> tuple[_Sheet, CalamineSheet, list[_Sheet]]:
        """The sheet to read, its values, and the other sheets with content."""
        visible = [sheet for sheet in self._sheets if sheet.visible == SheetVisibleEnum.Visible]
        if len(visible) > MAX_SHEETS:
            raise PreparationRefused(
                f"The workbook has {len(visible):,} sheets; the limit is {MAX_SHEETS:,}. Save the sheet with the rows "
                "alone."
            )
        wanted = reading.options.sheet
        if wanted is not None:
            visible = [self._named(wanted)]
        filled = [sheet for sheet in self._sheets[:MAX_SHEETS] if self._rows_of(sheet)]
        candidates = [sheet for sheet in filled if sheet in visible]
        if not candidates:
            where = f"The sheet `{wanted[:64]}`" if wanted is not None else "The workbook"
            hidden = f" Hidden with content: {_listed(filled)}; the option `sheet` reads one." if filled else ""
            what = "has no content." if wanted is not None else "has no visible sheet with content."
            raise PreparationRefused(f"{where} {what}{hidden if wanted is None else ''}", param="sheet")
        chosen, values = candidates[0], self._load(candidates[0].name)
        for sheet in candidates[:MAX_SEARCHED_SHEETS] if len(candidates) > 1 else ():
            loaded = values if sheet is chosen else self._load(sheet.name)
            head = [[str(cell) for cell in row] for row in loaded.to_python(nrows=_HEAD_ROWS)]
            if reading.options.header is False or any(has_header_of(row, reading.options) for row in head):
                chosen, values = sheet, loaded
                break
        others = [self._described(sheet) for sheet in filled if sheet is not chosen]
        return self._described(chosen), values, others

    def is_before(self, one: _Sheet, other: _Sheet) -> bool:
        """Whether a sheet stands before another one."""
        names = [sheet.name for sheet in self._sheets]
        return names.index(one.name) < names.index(other.name)

    def rows(self, chosen: _Sheet, sheet: CalamineSheet) -> SheetRows:
        """The rows of a sheet with all that the parts of the file say of its cells."""
        spans: dict[int, list[Span]] = {}
        for (top, left), (bottom, right) in sheet.merged_cell_ranges or ():
            spans.setdefault(top + 1, []).append(Span(left, bottom - top + 1, right - left + 1))
        rows = SheetRows(sheet, spans)
        part = self._package.parts.get(chosen.name)
        if part is not None:
            pieces = Archive(self._content).read(part)
            rows.read_traits(rows_with_traits(pieces, self._package, rows.counts))
        elif self._is_archive and (content := self._opendocument()) is not None:
            rows.read_traits(opendocument_rows(Archive(self._content).read(content), chosen.name))
        else:
            rows.has_formats = False
        return rows

    def _opendocument(self) -> zipfile.ZipInfo | None:
        entries = Archive(self._content).entries
        return next((entry for entry in entries if entry.filename == "content.xml"), None)

    def _named(self, wanted: str) -> SheetMetadata:
        exact = [sheet for sheet in self._sheets if sheet.name == wanted]
        plain = wanted.strip().casefold()
        found = exact or [sheet for sheet in self._sheets if sheet.name.strip().casefold() == plain]
        if not found:
            raise PreparationRefused(
                f"There is no sheet `{wanted[:64]}`; the workbook has {_listed(self._sheets)}.",
                code="unknown_sheet",
                param="sheet",
            )
        return found[0]

    def _described(self, sheet: SheetMetadata) -> _Sheet:
        return _Sheet(sheet.name, sheet.visible == SheetVisibleEnum.Visible, self._rows_of(sheet))

    def _rows_of(self, sheet: SheetMetadata) -> int:
        """The number of the last row with content."""
        if sheet.name not in self._rows:
            part = self._package.parts.get(sheet.name)
            self._rows[sheet.name] = (
                self._rows.get(part.filename, 0) if part is not None else self._load(sheet.name).total_height
            )
        return self._rows[sheet.name]

    def _load(self, name: str) -> CalamineSheet:
        try:
            with guarded(f"reading the sheet {name[:64]!r}", cpu_seconds=MAX_SECONDS):
                return self._workbook.get_sheet_by_name(name)
        except (CalamineError, ValueError) as error:
            raise PreparationRefused(f"The sheet {name[:64]!r} cannot be read ({str(error)[:120]}).") from None


def _listed(sheets: list[SheetMetadata]) -> str:
    shown = ", ".join(f"`{sheet.name[:64]}`" for sheet in sheets[:_SHOWN_SHEETS])
    return shown + (f" and {len(sheets) - _SHOWN_SHEETS} more" if len(sheets) > _SHOWN_SHEETS else "")


def _content(reading: Reading) -> IO[bytes]:
    """The workbook in a file that is deleted when it is closed."""
    content = tempfile.NamedTemporaryFile()  # noqa: SIM115  (open while its rows are read)
    size_bytes = 0
    for chunk in reading.chunks():
        size_bytes += len(chunk)
        if size_bytes > MAX_WORKBOOK_BYTES:
            content.close()
            raise PreparationRefused(f"The workbook is larger than {MAX_WORKBOOK_BYTES:,} bytes; save it as CSV.")
        content.write(chunk)
    content.flush()
    return content


def _measure(archive: Archive) -> dict[str, int]:
    """Read every part of the workbook once; the number of the last row with content, by part. Raises
    `PreparationRefused` for one that is too large.
    """
    rows = {}
    for entry in archive.entries:
        pieces = archive.read(entry)
        first = next(pieces, b"")
        part = chain((first,), pieces)
        name = entry.filename.lower()
        if name.endswith(".bin"):
            scan_binary(part)
        elif name.endswith("content.xml"):
            scan_opendocument(part)
        elif name.endswith(".xml") or first.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"<"):
            rows[entry.filename] = scan_xml(part)
        _exhaust(pieces)
    return rows


def _exhaust(pieces: Iterable[bytes]) -> None:
    for _ in pieces:
        pass


def _open(path: str) -> CalamineWorkbook:
    try:
        return CalamineWorkbook.from_path(path)
    except PasswordError:
        raise PreparationRefused("The workbook is protected by a password; save it without one.") from None
    except (CalamineError, zipfile.BadZipFile, OSError, ValueError) as error:
        raise PreparationRefused(
            f"The workbook cannot be read ({str(error)[:120]}); save it again, or as CSV."
        ) from None
