"""Reads spreadsheets (XLSX, XLS, ODS): the first visible sheet with content, numbers and dates as they are shown."""

from __future__ import annotations

import datetime as dt
import io
import zipfile
from collections.abc import Iterator
from typing import Any

from python_calamine import CalamineError, CalamineWorkbook, PasswordError, SheetVisibleEnum

from service.datasets.preparation.readers.reading import Reading, Source
from service.datasets.preparation.readers.table import column_names, table_rows
from service.datasets.preparation.refusals import PreparationRefused

MAX_WORKBOOK_BYTES = 128 << 20
MAX_UNPACKED_BYTES = 1 << 30
"""A workbook is read into memory, so its size is limited both before and after decompression."""


def read_workbook(reading: Reading) -> Source:
    """The rows of the sheet with their row numbers; the first row that is not blank is the header.

    Raises `PreparationRefused` for a workbook that is too large, damaged, protected or empty.
    """
    sheet = _first_sheet(_open(_content(reading)))
    records = sheet
    header = next((cells for _, cells in records if any(cells)), None)
    if header is None:
        raise PreparationRefused("The workbook has no sheet with a header row.")
    columns = column_names(header)
    return Source("xlsx", "utf-8", "row", columns, table_rows(reading, columns, records))


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


def _content(reading: Reading) -> io.BytesIO:
    content = io.BytesIO()
    for chunk in reading.chunks():
        content.write(chunk)
        if content.tell() > MAX_WORKBOOK_BYTES:
            raise PreparationRefused(f"The workbook is larger than {MAX_WORKBOOK_BYTES:,} bytes; save it as CSV.")
    content.seek(0)
    return content


def _open(content: io.BytesIO) -> CalamineWorkbook:
    try:
        if zipfile.is_zipfile(content):
            with zipfile.ZipFile(content) as packed:
                if sum(entry.file_size for entry in packed.infolist()) > MAX_UNPACKED_BYTES:
                    raise PreparationRefused(f"The workbook unpacks to over {MAX_UNPACKED_BYTES:,} bytes; use CSV.")
        content.seek(0)
        return CalamineWorkbook.from_object(content)
    except PasswordError:
        raise PreparationRefused("The workbook is protected by a password; save it without one.") from None
    except (CalamineError, zipfile.BadZipFile, OSError, ValueError) as error:
        raise PreparationRefused(
            f"The workbook cannot be read ({str(error)[:120]}); save it again, or as CSV."
        ) from None


def _first_sheet(workbook: CalamineWorkbook) -> Iterator[tuple[int, list[str]]]:
    for sheet in workbook.sheets_metadata:
        if sheet.visible != SheetVisibleEnum.Visible:
            continue
        try:
            found = workbook.get_sheet_by_name(sheet.name)
            start, rows = found.start, found.to_python(skip_empty_area=True)
        except (CalamineError, ValueError) as error:
            raise PreparationRefused(f"The sheet {sheet.name[:64]!r} cannot be read ({str(error)[:120]}).") from None
        if rows and start is not None:
            first = start[0] + 1
            return iter([(number, [cell_text(cell) for cell in row]) for number, row in enumerate(rows, start=first)])
    return iter(())
