"""Preparing bytes in memory, and the workbooks to do it with."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import escape

from service.catalogue.tokens import ModelFacts
from service.datasets.checks.registry import FIXES
from service.datasets.preparation.options import Columns, Options, Split, Target, chosen_fixes
from service.datasets.preparation.run import Outputs, Prepared, prepare
from service.datasets.preparation.tool_definitions import ToolDefinitions
from tests.datasets.rows import MODEL

SAFE = chosen_fixes("safe")
ALL = tuple(FIXES)


@dataclass(frozen=True, kw_only=True)
class Made:
    """A preparation's result and its three files."""

    result: Prepared
    training: bytes
    validation: bytes
    diff: bytes

    @property
    def rows(self) -> list[Any]:
        return [json.loads(line) for line in self.training.splitlines()]

    @property
    def validation_rows(self) -> list[Any]:
        return [json.loads(line) for line in self.validation.splitlines()]

    @property
    def changes(self) -> list[Any]:
        return [json.loads(line) for line in self.diff.splitlines()]

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """The question and the answer of each chat row."""
        return [(row["messages"][-2]["content"], row["messages"][-1]["content"]) for row in self.rows]


def make(
    data: bytes,
    *,
    filename: str = "data",
    fixes: Sequence[str] = SAFE,
    encoding: str | None = None,
    delimiter: str | None = None,
    header: bool | None = None,
    sheet: str | None = None,
    shape: str | None = None,
    model: ModelFacts = MODEL,
    target: Target = "chat",
    target_format: Target | None = None,
    columns: Columns | None = None,
    system_prompt: str | None = None,
    template: str | None = None,
    split: Split | None = None,
    tool_definitions: ToolDefinitions = "keep",
    piece_bytes: int = 1 << 16,
) -> Made:
    """Prepares bytes, given in pieces."""
    files = [io.BytesIO() for _ in range(3)]
    result = prepare(
        lambda: (data[at : at + piece_bytes] for at in range(0, len(data), piece_bytes)),
        filename=filename,
        options=Options(
            encoding=encoding,
            delimiter=delimiter,
            header=header,
            sheet=sheet,
            shape=shape,
            target_format=target_format,
            columns=columns or Columns(),
            system_prompt=system_prompt,
            prompt_template=template,
            fixes=tuple(fixes),
            split=split,
            tool_definitions=tool_definitions,
        ),
        model=model,
        target=target,
        outputs=Outputs(*files),
        scratch=io.BytesIO,
    )
    training, validation, diff = (file.getvalue() for file in files)
    return Made(result=result, training=training, validation=validation, diff=diff)


def workbook(rows: Sequence[Sequence[Any]], *, hidden_first: bool = False) -> bytes:
    """A minimal XLSX file. Cells: texts, numbers, booleans, None, or `Date(days)` (days since 1899-12-30)."""
    sheets = ([("Hidden", [["x"], ["y"]], ' state="hidden"')] if hidden_first else []) + [("Data", rows, "")]
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as packed:
        packed.writestr("[Content_Types].xml", _CONTENT_TYPES)
        packed.writestr("_rels/.rels", _rels([("officeDocument", "xl/workbook.xml")]))
        listed = "".join(
            f'<sheet name="{name}" sheetId="{number}"{state} r:id="rId{number}"/>'
            for number, (name, _, state) in enumerate(sheets, start=1)
        )
        packed.writestr("xl/workbook.xml", f"<workbook {_NAMESPACES}><sheets>{listed}</sheets></workbook>")
        targets = [("worksheet", f"worksheets/sheet{number}.xml") for number in range(1, len(sheets) + 1)]
        packed.writestr("xl/_rels/workbook.xml.rels", _rels([*targets, ("styles", "styles.xml")]))
        packed.writestr("xl/styles.xml", _STYLES)
        for number, (_, cells, _) in enumerate(sheets, start=1):
            packed.writestr(f"xl/worksheets/sheet{number}.xml", _sheet(cells))
    return out.getvalue()


@dataclass(frozen=True)
class Date:
    """A cell that is shown as a date."""

    days: float


_NAMESPACES = (
    'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main" '
    'xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"'
)
_CONTENT_TYPES = (
    '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
    '<Default Extension="xml" ContentType="application/xml"/></Types>'
)
_STYLES = (
    f'<styleSheet {_NAMESPACES}><cellXfs count="2"><xf numFmtId="0"/><xf numFmtId="14" applyNumberFormat="1"/>'
    "</cellXfs></styleSheet>"
)


def _rels(targets: Sequence[tuple[str, str]]) -> str:
    kind = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    inner = "".join(
        f'<Relationship Id="rId{number}" Type="{kind}/{name}" Target="{target}"/>'
        for number, (name, target) in enumerate(targets, start=1)
    )
    return (
        f'<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">{inner}</Relationships>'
    )


def _sheet(rows: Sequence[Sequence[Any]]) -> str:
    lines = []
    for number, cells in enumerate(rows, start=1):
        inner = "".join(_cell(f"{chr(65 + place)}{number}", value) for place, value in enumerate(cells))
        lines.append(f'<row r="{number}">{inner}</row>')
    return f"<worksheet {_NAMESPACES}><sheetData>{''.join(lines)}</sheetData></worksheet>"


def _cell(place: str, value: Any) -> str:
    match value:
        case None:
            return ""
        case bool():
            return f'<c r="{place}" t="b"><v>{int(value)}</v></c>'
        case int() | float():
            return f'<c r="{place}"><v>{value}</v></c>'
        case Date(days):
            return f'<c r="{place}" s="1"><v>{days}</v></c>'
        case _:
            return f'<c r="{place}" t="inlineStr"><is><t xml:space="preserve">{escape(str(value))}</t></is></c>'
