"""How commands print."""

import io

import pytest
from rich.console import Console
from rich.text import Text

from cli.output import Column, dollars, duration, number, print_fields, print_table, printable, size, status


def printed(width: int = 60) -> tuple[Console, io.StringIO]:
    """A console that writes plain text."""
    out = io.StringIO()
    return Console(file=out, width=width, highlight=False), out


class TestATable:
    def test_shortens_other_columns_before_those_that_are_copied(self) -> None:
        to, out = printed(30)
        print_table([Column("id", whole=True), Column("name", fold=True)], [["x" * 25, "y" * 25]], to, empty="")
        assert "x" * 25 in out.getvalue()

    def test_leaves_out_spare_columns_that_do_not_fit_the_widest_first_and_names_them(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        columns = [
            Column("id", whole=True),
            Column("model", fold=True, spare=True),
            Column("created", spare=True),
            Column("verdict", fold=True),
        ]
        row = ("i" * 30, "m" * 40, "c" * 16, "the verdict in some words")
        shown = {}
        for width in (200, 80, 50):
            monkeypatch.setenv("COLUMNS", str(width))
            to, out = printed(width)
            print_table(columns, [row], to, empty="")
            shown[width] = out.getvalue()
        assert "Not shown" not in shown[200]
        assert "m" * 40 not in shown[80]
        assert "c" * 16 in shown[80]
        assert shown[80].splitlines()[-1] == "Not shown, since the terminal is narrow: model; --json has all."
        assert shown[50].splitlines()[-1] == "Not shown, since the terminal is narrow: model, created; --json has all."
        assert all("i" * 30 in text for text in shown.values())

    def test_leaves_out_columns_that_are_empty_in_every_row(self) -> None:
        to, out = printed()
        columns = [Column("id"), Column("error"), Column("cost", justify="right")]
        print_table(columns, [("a", None, "$1.00"), ("b", "", "$10.00")], to, empty="nothing")
        lines = [line.split() for line in out.getvalue().splitlines()]
        assert lines == [["id", "cost"], ["a", "$1.00"], ["b", "$10.00"]]

    def test_without_rows_says_so(self) -> None:
        to, out = printed()
        print_table([Column("id")], [], to, empty="There are no jobs.")
        assert out.getvalue() == "There are no jobs.\n"

    def test_shows_an_id_whole_where_the_terminal_is_narrow(self) -> None:
        to, out = printed(width=20)
        identifier = "ftjob-0123456789abcdefghij"
        print_table([Column("id", fold=True), Column("model")], [(identifier, "gpt-4o-mini")], to, empty="")
        cells = [line[: line.find("  ")].strip() if "  " in line else line for line in out.getvalue().splitlines()[1:]]
        assert "".join(cells).startswith(identifier)

    def test_shows_markup_and_escape_codes_as_text(self) -> None:
        to, out = printed()
        print_table([Column("name")], [("[red]a[/]\x1b[2J",)], to, empty="")
        assert out.getvalue().splitlines()[1].rstrip() == "[red]a[/] [2J"


def test_fields_without_a_value_are_left_out() -> None:
    to, out = printed()
    print_fields([("id", "a"), ("error", None), ("status", Text("failed"))], to)
    assert [line.split() for line in out.getvalue().splitlines()] == [["id", "a"], ["status", "failed"]]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *((0, "$0.00"), (0.00004, "<$0.0001"), (0.02181, "$0.0218")),
        *((1, "$1.00"), (-0.5, "-$0.5000"), (1234.567, "$1,234.57")),
    ],
)
def test_dollars(value: float, text: str) -> None:
    assert dollars({"value": value, "currency": "usd"}) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59.6, "1 min"), (725, "12 min 5 s"), (12000, "3 h 20 min"), (86400, "1 d"), (187200, "2 d 4 h")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (1_449_999, "1.4 MB"), (999_960, "1.0 MB"), (512_000_000, "512 MB")],
)
def test_sizes(size_bytes: int, text: str) -> None:
    assert size(size_bytes) == text


def test_what_is_unknown_has_no_text() -> None:
    assert [dollars(None), duration(None), number(None), size(None), status(None)] == [None] * 5


def test_control_characters_are_spaces() -> None:
    assert printable("a\x1b[31m\nb") == "a [31m b"
    assert printable("a\nb\x07", keep="\n") == "a\nb "
