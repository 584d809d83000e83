"""Reads spreadsheets (XLSX, XLSB, XLS, ODS): the first visible sheet with content, numbers and dates as they are shown.

A library reads them, and makes a table of a whole sheet in memory. So the archive and its sheets are measured before
(`archive`, `sheet_size`); what is not recognised there meets the limit of memory of the process.
"""

from __future__ import annotations

import datetime as dt
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import closing
from itertools import chain
from typing import IO, Any

from python_calamine import CalamineError, CalamineWorkbook, PasswordError, SheetVisibleEnum

from service.datasets.preparation.readers.archive import Archive
from service.datasets.preparation.readers.reading import Reading, Source
from service.datasets.preparation.readers.sheet_size import scan_binary, scan_opendocument, scan_xml
from service.datasets.preparation.readers.table import open_table
from service.datasets.preparation.refusals import PreparationRefused
from service.processes.guard import guarded

MAX_WORKBOOK_BYTES = 128 << 20
MAX_SHEETS = 1_000
MAX_SECONDS = 300.0
"""The processor time for measuring a workbook, and for making a table of a sheet. 128 MB take under 60 seconds."""


def read_workbook(reading: Reading) -> Source:
    """The rows of the sheet with their row numbers; the first row that is not blank is the header.

    Raises `PreparationRefused` for a workbook that is too large, damaged, protected or empty.
    """
    return open_table(reading, _records(_content(reading)), kind="xlsx")


def cell_text(value: Any) -> str:
    """A cell as a person reads it: 3.0 is `3`, a date without a time is a date, true is `true`."""
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case float() if value.is_integer() and abs(value) < 1e15:
            return str(int(value))
        case dt.datetime() if value.time() == dt.time():
            return value.date().isoformat()
        case dt.datetime():
            return value.isoformat(" ")
        case dt.date() | dt.time():
            return value.isoformat()
        case None:
            return ""
        case _:
            return str(value)


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


def _records(content: IO[bytes]) -> Iterator[tuple[int, list[str]]]:
    with closing(content):
        with guarded("measuring the workbook", cpu_seconds=MAX_SECONDS):
            if zipfile.is_zipfile(content):
                _measure(Archive(content))
        with guarded("opening the workbook", cpu_seconds=MAX_SECONDS):
            workbook = _open(content.name)
        yield from _first_sheet(workbook)


def _measure(archive: Archive) -> None:
    """Read every part of the workbook once. Raises `PreparationRefused` for one that is too large."""
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
            scan_xml(part)
        _exhaust(pieces)


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


def _first_sheet(workbook: CalamineWorkbook) -> Iterator[tuple[int, list[str]]]:
    sheets = [sheet.name for sheet in workbook.sheets_metadata if sheet.visible == SheetVisibleEnum.Visible]
    if len(sheets) > MAX_SHEETS:
        raise PreparationRefused(
            f"The workbook has {len(sheets):,} sheets; the limit is {MAX_SHEETS:,}. Save the sheet with the rows alone."
        )
    for name in sheets:
        try:
            with guarded(f"reading the sheet {name[:64]!r}", cpu_seconds=MAX_SECONDS):
                sheet = workbook.get_sheet_by_name(name)
        except (CalamineError, ValueError) as error:
            raise PreparationRefused(f"The sheet {name[:64]!r} cannot be read ({str(error)[:120]}).") from None
        if sheet.start is not None and sheet.height:
            first = sheet.start[0]
            for number, row in enumerate(sheet.iter_rows()):
                if number >= first:
                    yield number + 1, [cell_text(cell) for cell in row]
            return
