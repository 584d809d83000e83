"""Files of some KB that become gigabytes when they are opened naively."""

import gzip
import io
import zipfile

_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml"

_PARTS = {
    "[Content_Types].xml": f'<Types xmlns="{_PACKAGE}/content-types">'
    '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
    '<Default Extension="xml" ContentType="application/xml"/>'
    f'<Override PartName="/xl/workbook.xml" ContentType="{_TYPE}.sheet.main+xml"/>'
    f'<Override PartName="/xl/worksheets/sheet1.xml" ContentType="{_TYPE}.worksheet+xml"/></Types>',
    "_rels/.rels": f'<Relationships xmlns="{_PACKAGE}/relationships">'
    f'<Relationship Id="rId1" Type="{_OFFICE}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
    "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{_PACKAGE}/relationships">'
    f'<Relationship Id="rId1" Type="{_OFFICE}/worksheet" Target="worksheets/sheet1.xml"/></Relationships>',
    "xl/workbook.xml": f'<workbook xmlns="{_MAIN}" xmlns:r="{_OFFICE}">'
    '<sheets><sheet name="S" sheetId="1" r:id="rId1"/></sheets></workbook>',
}


def sparse_workbook(cell: str) -> bytes:
    """Two rows of two columns, and one more cell far away, such as `XFD1048576`."""
    row = cell.lstrip("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
    rows = [
        f'<row r="1">{_text("A1", "question")}{_text("B1", "answer")}</row>',
        f'<row r="2">{_text("A2", "q")}{_text("B2", "a")}</row>',
        f'<row r="{row}">{_text(cell, "x")}</row>',
    ]
    sheet = f'<worksheet xmlns="{_MAIN}"><sheetData>{"".join(rows)}</sheetData></worksheet>'
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as parts:
        for name, content in {**_PARTS, "xl/worksheets/sheet1.xml": sheet}.items():
            parts.writestr(name, f'<?xml version="1.0"?>{content}')
    return made.getvalue()


def zipped_lists(size_bytes: int) -> bytes:
    """A zipped JSON object with so many bytes of empty lists, each of which takes twenty times its text in memory."""
    return gzip.compress(b'{"data":[' + b"[]," * (size_bytes // 3) + b"[]]}")


def zipped_rows(size_bytes: int) -> bytes:
    """A zipped table of so many bytes."""
    return gzip.compress(b"question,answer\n" + b"a,b\n" * (size_bytes // 4))


def _text(cell: str, value: str) -> str:
    return f'<c r="{cell}" t="inlineStr"><is><t>{value}</t></is></c>'
