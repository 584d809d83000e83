"""Workbooks as a person reads them: formats, merged cells, sheets, formulas and errors."""

from __future__ import annotations

from typing import Any

import pytest

from service.datasets.preparation.readers import workbook as workbooks
from service.datasets.preparation.readers.number_format import Format, parse_format, plain_number
from service.datasets.preparation.refusals import PreparationRefused
from tests.datasets.preparation.sources import ERROR, Date, Formula, Made, Shown, make, workbook
from tests.datasets.preparation.test_bombs import opendocument

HEADER = ["question", "answer"]
ROWS = [HEADER, ["Why?", "Because."], ["Who?", "Me."]]


def sheet(*rows: Any, **options: Any) -> Made:
    return make(workbook([HEADER, *rows], **options), filename="a.xlsx")


def notes(made: Made) -> str:
    return "\n".join(made.result.notes)


def text_of(value: float, code: str) -> str:
    found = parse_format(code)
    assert isinstance(found, Format)
    assert found.show is not None
    return found.show(value).text


class TestFormats:
    @pytest.mark.parametrize(
        ("value", "code", "text"),
        [
            (0.25, "0%", "25%"), (0.125, "0.0%", "12.5%"), (0.125, "0%", "13%"), (-0.5, "0%", "-50%"),
            (123, "00000", "00123"), (5551234, "000\\-0000", "555-1234"),
            (5551234567, "(###) ###-####", "(555) 123-4567"),
            (1234.5, '#,##0.00 "€"', "1,234.50 €"), (1234.5, "#,##0.00 [$€-407]", "1.234,50 €"),
            (-1234567.5, "#,##0.00 [$€-407]", "-1.234.567,50 €"), (1234.5, "[$$-409]#,##0.00", "$1,234.50"),
            (1234.5, "#,##0.00 [$€-40C]", "1\u00a0234,50 €"), (-5, '"$"#,##0_);("$"#,##0)', "($5)"),
            (1234.5, '_-* #,##0.00\\ "€"_-;\\-* #,##0.00\\ "€"_-;_-* "-"??\\ "€"_-;_-@_-', "1,234.50 €"),
            (1.5e-7, "0.00E+00", "1.50E-07"), (0.5, "# ?/?", "1/2"), (1.5, "# ?/?", "1 1/2"), (1.25, "# ?/8", "1 2/8"),
            (2.5, "0.00", "2.50"), (3.14159, "0.00", "3.14"), (2.5, "0.##", "2.5"), (1234567, '#,##0,"k"', "1,235k"),
            (70, '0" kg"', "70 kg"), (-3, "0;[Red]-0", "-3"), (0, '0;-0;"none"', "none"), (5, "+0;-0;0", "+5"),
            (5.2, "0.0\\%", "5.2%"),
        ],
    )  # fmt: skip
    def test_show_a_number_as_the_sheet_does(self, value: float, code: str, text: str) -> None:
        assert text_of(value, code) == text
        assert sheet(["q", Shown(value, code)]).pairs == [("q", text)]

    @pytest.mark.parametrize("code", ["General", "@", "yyyy-mm-dd", "[>=100]0;0.0", ";;;", "0" * 300])
    def test_that_are_no_numbers_or_not_understood_leave_the_number(self, code: str) -> None:
        assert parse_format(code) is None

    @pytest.mark.parametrize(
        ("days", "code", "text"),
        [
            (1.510416666666667, "[h]:mm:ss", "36:15:00"), (0.0625, "[mm]:ss", "90:00"), (0.75, "h:mm", "18:00"),
            (1.5, "h:mm", "12:00"), (0.3125, "hh:mm:ss", "07:30:00"), (0.75, "h:mm AM/PM", "6:00 PM"),
            (0.020833333333333332, "mm:ss", "30:00"), (45322.75, "dd.mm.yyyy hh:mm", "2024-01-31 18:00:00"),
            (45322, "dd.mm.yyyy", "2024-01-31"), (45292.7, "yyyy-mm-dd hh:mm:ss", "2024-01-01 16:48:00"),
        ],
    )  # fmt: skip
    def test_show_times_and_durations(self, days: float, code: str, text: str) -> None:
        assert sheet(["q", Shown(days, code)]).pairs == [("q", text)]

    @pytest.mark.parametrize(
        ("value", "text"),
        [(0.1 + 0.2, "0.3"), (1e20, "1" + "0" * 20), (12345678901234567.0, "12345678901234600"), (1.5e-7, "1.5E-07"),
         (2.5, "2.5"), (1e300, "1E+300"), (-3.0, "-3")],
    )  # fmt: skip
    def test_of_plain_numbers_have_fifteen_digits(self, value: float, text: str) -> None:
        assert plain_number(value) == text

    def test_that_hide_digits_are_counted(self) -> None:
        assert "1 number has more digits" in notes(sheet(["q", Shown(1 / 3, "0%")], ["r", Shown(0.25, "0%")]))

    def test_of_a_table_away_from_the_first_column(self) -> None:
        rows: list[list[Any]] = [[None] * 4, [None, None, *HEADER], [None, None, "q", Shown(0.25, "0%")]]
        assert make(workbook(rows), filename="a.xlsx").pairs == [("q", "25%")]

    def test_of_opendocument_are_the_shown_texts(self) -> None:
        cells = (
            '<table:table-row><table:table-cell office:value-type="string"><text:p>q</text:p></table:table-cell>'
            '<table:table-cell office:value-type="{}" {}><text:p>{}</text:p></table:table-cell></table:table-row>'
        )
        rows = [
            ("percentage", 'office:value="0.25"', "25%"),
            ("currency", 'office:value="1234.5"', "1.234,50 €"),
            ("time", 'office:time-value="PT36H15M00S"', "36:15:00"),
            ("float", 'office:value="123"', "00123"),
        ]
        made = make(opendocument("".join(cells.format(*row) for row in rows)), filename="a.ods")
        assert [answer for _, answer in made.pairs[-4:]] == ["25%", "1.234,50 €", "36:15:00", "00123"]


class TestMergedCells:
    def test_give_their_value_to_every_row(self) -> None:
        made = sheet(["Why?", "a"], [None, "b"], [None, "c"], ["Who?", "d"], merged=["A2:A4"])
        assert made.pairs == [("Why?", "a"), ("Why?", "b"), ("Why?", "c"), ("Who?", "d")]
        assert "2 cells got the value of the merged cell" in notes(made)

    def test_of_opendocument(self) -> None:
        row = '<table:table-row><table:{}><text:p>{}</text:p></table:{}><table:table-cell office:value-type="string">'
        row += "<text:p>{}</text:p></table:table-cell></table:table-row>"
        spanned = 'table-cell office:value-type="string" table:number-rows-spanned="2" table:number-columns-spanned="1"'
        rows = row.format(spanned, "Who?", "table-cell", "a") + row.format(
            "covered-table-cell", "", "covered-table-cell", "b"
        )
        assert make(opendocument(rows), filename="a.ods").pairs[-2:] == [("Who?", "a"), ("Who?", "b")]

    def test_below_the_table_make_no_rows(self) -> None:
        assert sheet(["Why?", "a"], [None, None], [None, None], merged=["A2:A60"]).result.rows_in == 1

    def test_over_a_row_are_headings(self) -> None:
        made = sheet(["Chapter 1", None], ["Why?", "a"], merged=["A2:B2"])
        assert made.pairs == [("Why?", "a")]
        assert made.result.rows_dropped == {"drop_empty_messages": 1}

    def test_of_a_header_join_its_rows(self) -> None:
        rows: list[list[Any]] = [
            ["Report", None, None], ["Question", "Answer", None], [None, "short", "long"],
            ["Why?", "B.", "Because."], ["Who?", "M.", "Me."],
        ]  # fmt: skip
        for merged in (["A1:C1", "A2:A3", "B2:C2"], ["A1:C1", "B2:C2"]):
            with pytest.raises(PreparationRefused, match="`Question`, `Answer short`, `Answer long`"):
                make(workbook(rows, merged=merged), filename="a.xlsx")


class TestCellsWithoutAValue:
    def test_are_named_with_their_cause(self) -> None:
        made = sheet(["a", ERROR], ["b", Formula(None)], ["c", Formula("2")], ["d", "x"])
        assert made.pairs == [("c", "2"), ("d", "x")]
        assert "1 cell with an error of a formula, such as #N/A" in notes(made)
        assert "1 cell with a formula whose value was never calculated" in notes(made)

    def test_are_those_with_0_where_the_file_is_not_calculated(self) -> None:
        assert sheet(["a", Formula("0")], ["b", "x"]).pairs == [("a", "0"), ("b", "x")]
        made = sheet(["a", Formula("0")], ["b", "x"], calculated=False)
        assert made.pairs == [("b", "x")]
        assert "never calculated" in notes(made)

    def test_say_the_cause_where_nothing_is_left(self) -> None:
        with pytest.raises(PreparationRefused, match="never calculated"):
            sheet(["a", Formula(None)], ["b", Formula(None)])

    def test_hidden_rows_are_read_and_counted(self) -> None:
        made = sheet(["a", "b"], ["c", "d"], hidden=[2])
        assert made.pairs == [("a", "b"), ("c", "d")]
        assert "1 hidden row" in notes(made)


class TestSheets:
    def test_that_are_not_read_are_listed(self) -> None:
        made = make(workbook(ROWS, more={"Old": ROWS, "Empty": []}, hidden_first=True), filename="a.xlsx")
        assert made.result.input is not None
        assert (made.result.input.sheet, made.result.input.sheets_not_read) == ("Data", ["Hidden", "Old"])
        assert "`Hidden` (2 rows, hidden), `Old` (3 rows)" in notes(made)

    def test_that_is_named_is_read(self) -> None:
        more = {"Second part": [HEADER, ["Which?", "That."]]}
        made = make(workbook(ROWS, more=more), filename="a.xlsx", sheet=" second PART")
        assert made.pairs == [("Which?", "That.")]
        assert made.result.input is not None
        assert made.result.input.sheets_not_read == ["Data"]

    def test_that_does_not_exist_is_refused_with_the_list(self) -> None:
        with pytest.raises(PreparationRefused, match="`Data`, `Old`") as refused:
            make(workbook(ROWS, more={"Old": ROWS}), filename="a.xlsx", sheet="New")
        assert (refused.value.code, refused.value.param) == ("unknown_sheet", "sheet")

    def test_whose_columns_have_known_names_come_first(self) -> None:
        made = make(workbook([["Do not edit."], ["Ask Ann."]], more={"FAQ": ROWS}), filename="a.xlsx")
        assert made.result.input is not None
        assert made.result.input.sheet == "FAQ"
        assert "first sheet whose columns are named" in notes(made)

    def test_beyond_those_that_are_searched(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(workbooks, "MAX_SEARCHED_SHEETS", 1)
        with pytest.raises(PreparationRefused, match="the file has"):
            make(workbook([["one", "two"], ["Do not.", "Ask."]], more={"FAQ": ROWS}), filename="a.xlsx")

    def test_that_are_parts_of_a_split_are_named(self) -> None:
        assert "parts of a split" in notes(make(workbook(ROWS, more={"validation": ROWS}), filename="a.xlsx"))

    def test_line_breaks_in_cells_are_line_feeds(self) -> None:
        assert sheet(["Why\n_x000D_\nso?", "a_x000D_b"]).pairs == [("Why\n\nso?", "a\nb")]

    def test_dates_are_still_dates(self) -> None:
        assert sheet([Date(45292), "x"]).pairs == [("2024-01-01", "x")]


@pytest.mark.parametrize(
    ("filename", "text"),
    [
        ("a.xls", '<html xmlns:x="urn:schemas-microsoft-com:office:excel"><body><table><tr><td>question'),
        ("a.csv", "<table><tr><td>question</td><td>answer</td></tr></table>"),
        ("a.xls", '<?xml version="1.0"?>\n<Workbook xmlns="urn:schemas-microsoft-com:office:spreadsheet">'),
    ],
)
def test_tables_of_markup_are_named(filename: str, text: str) -> None:
    with pytest.raises(PreparationRefused, match="save it as XLSX"):
        make(text.encode(), filename=filename)
