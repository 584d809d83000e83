"""Preparing bytes in memory, and the workbooks to do it with."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import escape

from service.catalogue.tokens import ModelFacts
from service.datasets.fixes import FIXES
from service.datasets.preparation.options import Columns, Options, Split, Target, ToolDefinitions, chosen_fixes
from service.datasets.preparation.outcome import Prepared
from service.datasets.preparation.run import Outputs, prepare
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


def workbook(
    rows: Sequence[Sequence[Any]],
    *,
    hidden_first: bool = False,
    more: Mapping[str, Sequence[Sequence[Any]]] | None = None,
    merged: Sequence[str] = (),
    calculated: bool = True,
    hidden: Sequence[int] = (),
) -> bytes:
    """A minimal XLSX file whose first visible sheet is `Data`; `more` are sheets behind it.

    Cells: texts, numbers, booleans, None, `Date(days)` (days since 1899-12-30), `Shown(value, code)`, `Formula(value)`
    and `ERROR`. `merged` are the merged ranges of `Data` such as `A2:A3`, `hidden` its hidden rows. Unless
    `calculated`, the file says that its formulas are to be calculated when it is opened.
    """
    sheets: list[tuple[str, Sequence[Sequence[Any]], str]] = [("Data", rows, "")]
    sheets += [(name, cells, "") for name, cells in (more or {}).items()]
    if hidden_first:
        sheets.insert(0, ("Hidden", [["x"], ["y"]], ' state="hidden"'))
    codes: list[str] = []
    parts = [_sheet(cells, codes, merged if name == "Data" else (), hidden) for name, cells, _ in sheets]
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as packed:
        packed.writestr("[Content_Types].xml", _CONTENT_TYPES)
        packed.writestr("_rels/.rels", _rels([("officeDocument", "xl/workbook.xml")]))
        listed = "".join(
            f'<sheet name="{name}" sheetId="{number}"{state} r:id="rId{number}"/>'
            for number, (name, _, state) in enumerate(sheets, start=1)
        )
        calculation = "" if calculated else '<calcPr fullCalcOnLoad="1"/>'
        text = f"<workbook {_NAMESPACES}><sheets>{listed}</sheets>{calculation}</workbook>"
        packed.writestr("xl/workbook.xml", text)
        targets = [("worksheet", f"worksheets/sheet{number}.xml") for number in range(1, len(sheets) + 1)]
        packed.writestr("xl/_rels/workbook.xml.rels", _rels([*targets, ("styles", "styles.xml")]))
        packed.writestr("xl/styles.xml", _styles(codes))
        for number, part in enumerate(parts, start=1):
            packed.writestr(f"xl/worksheets/sheet{number}.xml", part)
    return out.getvalue()


@dataclass(frozen=True)
class Date:
    """A cell that is shown as a date."""

    days: float


@dataclass(frozen=True)
class Shown:
    """A number that is shown by the code of a format."""

    value: float
    code: str


@dataclass(frozen=True)
class Formula:
    """A formula with the value that was calculated, if any."""

    value: str | None


ERROR = object()
"""A cell with the error #N/A."""


_NAMESPACES = (
    'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main" '
    'xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"'
)
_CONTENT_TYPES = (
    '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
    '<Default Extension="xml" ContentType="application/xml"/></Types>'
)
_FIRST_CODE = 164


def _styles(codes: Sequence[str]) -> str:
    formats = "".join(
        f'<numFmt numFmtId="{number}" formatCode="{escape(code, {chr(34): "&quot;"})}"/>'
        for number, code in enumerate(codes, start=_FIRST_CODE)
    )
    cells = "".join(f'<xf numFmtId="{number}"/>' for number in (0, 14, *range(_FIRST_CODE, _FIRST_CODE + len(codes))))
    return f"<styleSheet {_NAMESPACES}><numFmts>{formats}</numFmts><cellXfs>{cells}</cellXfs></styleSheet>"


def _rels(targets: Sequence[tuple[str, str]]) -> str:
    kind = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    inner = "".join(
        f'<Relationship Id="rId{number}" Type="{kind}/{name}" Target="{target}"/>'
        for number, (name, target) in enumerate(targets, start=1)
    )
    return (
        f'<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">{inner}</Relationships>'
    )


def _sheet(rows: Sequence[Sequence[Any]], codes: list[str], merged: Sequence[str], hidden: Sequence[int]) -> str:
    lines = []
    for number, cells in enumerate(rows, start=1):
        inner = "".join(_cell(f"{chr(65 + place)}{number}", value, codes) for place, value in enumerate(cells))
        state = ' hidden="1"' if number in hidden else ""
        lines.append(f'<row r="{number}"{state}>{inner}</row>')
    ranges = "".join(f'<mergeCell ref="{each}"/>' for each in merged)
    below = f"<mergeCells>{ranges}</mergeCells>" if merged else ""
    return f"<worksheet {_NAMESPACES}><sheetData>{''.join(lines)}</sheetData>{below}</worksheet>"


def _cell(place: str, value: Any, codes: list[str]) -> str:
    match value:
        case None:
            return ""
        case bool():
            return f'<c r="{place}" t="b"><v>{int(value)}</v></c>'
        case int() | float():
            return f'<c r="{place}"><v>{value}</v></c>'
        case Date(days):
            return f'<c r="{place}" s="1"><v>{days}</v></c>'
        case Shown(number, code):
            if code not in codes:
                codes.append(code)
            return f'<c r="{place}" s="{codes.index(code) + 2}"><v>{number}</v></c>'
        case Formula(calculated):
            return f'<c r="{place}"><f>1+1</f><v>{calculated}</v></c>'.replace("<v>None</v>", "<v></v>")
        case _ if value is ERROR:
            return f'<c r="{place}" t="e"><v>#N/A</v></c>'
        case _:
            return f'<c r="{place}" t="inlineStr"><is><t xml:space="preserve">{escape(str(value))}</t></is></c>'
