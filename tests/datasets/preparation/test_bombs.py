"""Small inputs that would take gigabytes or hours are refused before they do, by the limit that they exceed."""

from __future__ import annotations

import gzip
import io
import struct
import zipfile
from collections.abc import Iterable
from typing import Any

import pytest

from service.datasets.preparation.readers import archive, expansion, header, json_scan, reading, sheet_size, table
from service.datasets.preparation.readers import workbook as workbooks
from service.datasets.preparation.refusals import PreparationRefused
from tests.datasets.preparation.sources import make, workbook

ROWS = [["question", "answer"], ["Why?", "Because."]]
HEAD = (
    '<row r="1"><c r="A1" t="inlineStr"><is><t>question</t></is></c>'
    '<c r="B1" t="inlineStr"><is><t>answer</t></is></c></row>'
    '<row r="2"><c r="A2"><v>1</v></c><c r="B2"><v>2</v></c></row>'
)
SHEET = "xl/worksheets/sheet1.xml"


def repacked(data: bytes, replaced: dict[str, bytes]) -> bytes:
    """The workbook with other contents of some entries, or more entries."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            if name not in replaced:
                new.writestr(name, old.read(name))
        for name, content in replaced.items():
            new.writestr(name, content)
    return out.getvalue()


def with_sheet(rows: str) -> bytes:
    """A workbook whose sheet has a header, a row, and these rows."""
    return repacked(workbook(ROWS), {SHEET: f"<worksheet><sheetData>{HEAD}{rows}</sheetData></worksheet>".encode()})


def opendocument(rows: str) -> bytes:
    """An ODS file with these rows after the header and a row."""
    cell = '<table:table-cell office:value-type="string"><text:p>{}</text:p></table:table-cell>'
    head = "".join(f"<table:table-row>{cell.format(a)}{cell.format(b)}</table:table-row>" for a, b in ROWS)
    content = (
        '<office:document-content xmlns:office="urn:oasis:names:tc:opendocument:xmlns:office:1.0" '
        'xmlns:table="urn:oasis:names:tc:opendocument:xmlns:table:1.0" '
        'xmlns:text="urn:oasis:names:tc:opendocument:xmlns:text:1.0"><office:body><office:spreadsheet>'
        f'<table:table table:name="S">{head}{rows}</table:table></office:spreadsheet></office:body>'
        "</office:document-content>"
    )
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet")
        packed.writestr("content.xml", content)
        packed.writestr("META-INF/manifest.xml", "<manifest:manifest/>")
    return out.getvalue()


def binary_sheet(cells: Iterable[tuple[int, int]]) -> bytes:
    """The records of a sheet of an XLSB file."""
    data = bytearray(b"\x81\x01\x00\x91\x01\x00")
    for row, column in cells:
        data += b"\x00\x04" + struct.pack("<I", row) + b"\x05\x10" + struct.pack("<IId", column, 0, 1.0)
    return bytes(data + b"\x92\x01\x00")


def lying(data: bytes) -> bytes:
    """The archive, whose headers say that the sheet has 100 bytes."""
    out = bytearray(data)
    for signature, size_at, name_at in ((b"PK\x03\x04", 22, 30), (b"PK\x01\x02", 24, 46)):
        at = out.find(signature)
        while at >= 0:
            if out[at + name_at :].startswith(SHEET.encode()):
                struct.pack_into("<I", out, at + size_at, 100)
            at = out.find(signature, at + 1)
    return bytes(out)


def refused(data: bytes, filename: str = "a.xlsx", **options: Any) -> str:
    """Why the input is refused."""
    with pytest.raises(PreparationRefused) as refusal:
        make(data, filename=filename, **options)
    return refusal.value.message


class TestWorkbooks:
    @pytest.mark.parametrize(
        "rows",
        [
            '<row r="1000000"><c r="Z1000000"><v>1</v></c></row>',
            '<row r="1048576"><c s=">" r="XFD1048576"><v>1</v></c></row>',
            "<row r='1000000'><x:c\nr = 'Z1000000'><v>1</v></x:c></row>",
            '<row r="1000000">' + "<c><v>1</v></c>" * 20 + "</row>",
            '<row r="3"><c r="A99999999999999999999"><v>1</v></c></row>',
        ],
    )
    def test_a_cell_in_a_far_corner(self, rows: str) -> None:
        assert "the limit is 10,000,000 cells" in refused(with_sheet(rows))

    def test_cells_without_references_in_one_long_row(self) -> None:
        rows = '<row r="100000">' + "<c><v>1</v></c>" * 200_000 + "</row>"
        assert "the limit is 10,000,000 cells" in refused(with_sheet(rows))

    def test_more_cells_than_the_limit_in_one_place(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sheet_size, "MAX_CELLS", 1_000)
        assert "over 1,000 cells" in refused(with_sheet('<c r="A3"><v>1</v></c>' * 1_000))

    def test_shared_texts(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sheet_size, "MAX_CELLS", 1_000)
        texts = b"<sst>" + b"<si><t/></si>" * 1_001 + b"</sst>"
        assert "over 1,000 texts" in refused(repacked(workbook(ROWS), {"xl/sharedStrings.xml": texts}))

    def test_formatted_cells_without_content_do_not_count(self) -> None:
        made = make(with_sheet('<row r="1048576" s="1"><c r="XFD1048576" s="1"/></row>'), filename="a.xlsx")
        assert made.result.rows_in == 1

    def test_a_tag_that_is_cut_in_an_attribute(self) -> None:
        assert "damaged" in refused(with_sheet('<c s="<c r="Z1000000"><v>1</v></c>'))

    def test_sizes_in_headers_that_lie(self) -> None:
        data = lying(with_sheet('<row r="3">' + '<c r="A3"><v>1</v></c>' * 1_000_000 + "</row>"))
        assert "over 250 times its size" in refused(data)

    def test_expanded_bytes(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(archive, "MAX_EXPANDED_BYTES", 100_000)
        assert "unpacks to over 100,000 bytes" in refused(with_sheet("<row/>" * 20_000))

    def test_entries(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(archive, "MAX_ENTRIES", 100)
        entries = {f"xl/media/{number}.txt": b"" for number in range(100)}
        assert "the limit is 100" in refused(repacked(workbook(ROWS), entries))

    def test_sheets(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(workbooks, "MAX_SHEETS", 0)
        assert "has 1 sheets; the limit is 0" in refused(workbook(ROWS))

    def test_an_ods_file_whose_cells_are_repeated(self) -> None:
        cell = '<table:table-cell table:number-columns-repeated="9000" office:value-type="float" office:value="1"/>'
        assert "the limit is" in refused(
            opendocument(f'<table:table-row table:number-rows-repeated="9000">{cell}</table:table-row>'), "a.ods"
        )

    def test_an_ods_file_as_libreoffice_ends_it(self) -> None:
        made = make(
            opendocument(
                '<table:table-row table:number-rows-repeated="1048573"><table:table-cell '
                'table:number-columns-repeated="16384"/></table:table-row>'
            ),
            filename="a.ods",
        )
        assert made.result.rows_in == 1

    def test_an_xlsb_sheet(self) -> None:
        sheet_size.scan_binary([binary_sheet([(0, 0), (999, 99)])])
        data = binary_sheet([(0, 0), (1_000_000, 25)])
        with pytest.raises(PreparationRefused, match="the limit is 10,000,000 cells"):
            sheet_size.scan_binary(data[at : at + 7] for at in range(0, len(data), 7))
        assert "the limit is 10,000,000 cells" in refused(repacked(workbook(ROWS), {"xl/sheet1.bin": data}))


class TestGzip:
    def test_the_ratio(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(expansion, "RATIO_FROM_BYTES", 100_000)
        rows = b"question,answer\n" + b"a,b\n" * 200_000
        assert "over 250 times its size" in refused(gzip.compress(rows, 9), "a.csv.gz")

    def test_a_small_file_may_have_any(self) -> None:
        rows = b"question,answer\n" + b"Why?,Because.\n" * 5_000
        assert make(gzip.compress(rows), filename="a.csv.gz").result.rows_in == 5_000

    def test_expanded_bytes(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(reading, "MAX_UNPACKED_BYTES", 100_000)
        assert "over 100,000 bytes" in refused(gzip.compress(b"question,answer\n" * 10_000), "a.csv.gz")

    def test_members(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(reading, "MAX_MEMBERS", 10)
        data = gzip.compress(b"question,answer\nWhy?,Because.\n")
        assert make(data + gzip.compress(b"") * 9 + b"\0" * 100, filename="a.csv.gz").result.rows_in == 1
        assert "over 10 gzip members" in refused(data + gzip.compress(b"") * 10, "a.csv.gz")

    def test_twice(self) -> None:
        assert "compressed twice" in refused(gzip.compress(gzip.compress(b"[]")), "a.json.gz")


class TestJson:
    def test_values_of_one_item(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(json_scan, "MAX_ITEM_VALUES", 100)
        rows = b'{"question":"Why?","answer":"Because, so."}'
        assert make(b"[" + b",".join([rows] * 200) + b"]", filename="a.json").result.rows_in == 200
        assert "item 1: it has over 100 values" in refused(b'{"data":[' + b"[]," * 100 + b"[]]}", "a.json")

    def test_bytes_of_one_item(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(json_scan, "MAX_ITEM_BYTES", 1_000)
        assert "over 1,000 bytes" in refused(b'{"question":["' + b"a" * 2_000_000, "a.json")

    def test_keys(self) -> None:
        keys = ",".join(f'"k{number}":1' for number in range(header.MAX_COLUMNS + 1))
        assert "16,385 different keys" in refused(f"[{{{keys}}}]".encode(), "a.json")

    @pytest.mark.parametrize("depth", [101, 1_000, 1_000_000])
    def test_depth(self, depth: int) -> None:
        assert "nested more than 100 deep" in refused(b"[" * (depth + 1) + b"]" * (depth + 1), "a.json")


class TestTables:
    def test_columns(self) -> None:
        names = ",".join(f"c{number}" for number in range(header.MAX_COLUMNS + 1))
        assert "16,385 columns; the limit is 16,384" in refused(f"{names}\n1\n".encode(), "a.csv")

    def test_a_quote_that_is_not_closed_is_found_where_it_opens(self) -> None:
        data = b'question,answer\nWhy?,Because.\n"' + b"a,b\n" * (2 * table.MAX_RECORD_LINES)
        message = refused(data, "a.csv")
        assert "The row that begins in line 3" in message
        assert "a quote is not closed there" in message

    def test_characters_of_one_row(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(table, "MAX_RECORD_CHARS", 10_000)
        assert "over 10,000 characters" in refused(b"question,answer\n" + b'a,"\n",' * 10_000, "a.csv")

    def test_long_lines_are_not_read_ahead(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(table, "_HEAD_CHARS", 10)
        lines = iter(["0123456789,", *["a,b"] * 10])
        ahead = table._Lines(lines)
        assert ahead.head() == ["0123456789,"]
        assert len(list(lines)) == 10


def test_the_limits_leave_room_for_honest_files() -> None:
    """What the limits were checked against."""
    assert sheet_size.MAX_CELLS >= 1_048_576 * 9
    assert header.MAX_COLUMNS >= 16_384
    assert expansion.MAX_RATIO >= 2 * 100
