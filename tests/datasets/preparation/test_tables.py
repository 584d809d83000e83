"""Tables of text as people write them: delimiters, quotes, headers, and what stands around them."""

from __future__ import annotations

from typing import Any

import pytest

from service.datasets.preparation.options import Columns
from service.datasets.preparation.readers.dialect import given_delimiter
from service.datasets.preparation.refusals import PreparationRefused
from tests.datasets.preparation.sources import Made, make

TWO = [("Why, so?", "Because."), ("Who?", "Me.")]
ROWS = "question{0}answer\nWhy, so?{0}Because.\nWho?{0}Me.\n"


def table(text: str, **options: Any) -> Made:
    return make(text.encode(), filename=options.pop("filename", "a.csv"), **options)


def detected(made: Made) -> tuple[str, str, str, str]:
    """The delimiter and the header, each with its certainty."""
    found = made.result.input
    assert found is not None
    assert found.delimiter is not None
    assert found.header is not None
    return found.delimiter.value, found.delimiter.certainty, found.header.value, found.header.certainty


def notes(made: Made) -> str:
    return "\n".join(made.result.notes)


class TestDelimiter:
    @pytest.mark.parametrize("delimiter", [";", "\t", "|", "^", "~", "\x1f", "\x01"])
    def test_is_detected(self, delimiter: str) -> None:
        made = table(ROWS.format(delimiter))
        assert made.pairs == TWO
        assert detected(made) == (delimiter, "certain", "true", "certain")

    @pytest.mark.parametrize(
        "line", ["sep=;", '"sep=;"', "SEP=;", "\ufeffsep=;", "sep=\t", "sep=\\t", "sep=|", "sep=;\r", "sep="]
    )
    def test_is_named_by_the_first_line_as_in_excel(self, line: str) -> None:
        delimiter = "\t" if line.endswith(("\t", "t")) else "|" if "|" in line else ";"
        for filename in ("a.csv", "a", "a.txt"):
            made = table(f"{line}\n{ROWS.format(delimiter)}", filename=filename)
            assert made.pairs == TWO
            assert detected(made)[:2] == (delimiter, "certain")

    def test_that_excel_names_in_utf_16(self) -> None:
        data = f"sep=;\r\n{ROWS.format(';')}".replace("\n", "\r\n").encode("utf-16")
        assert make(data, filename="a.csv").pairs == TWO

    def test_a_line_that_names_it_stays_out_of_an_option_s_way(self) -> None:
        assert detected(table("sep=,\n" + ROWS.format(";"), delimiter=";"))[:2] == (";", "given")

    @pytest.mark.parametrize(
        ("text", "pairs"),
        [
            ("Frage;Antwort\n3,5;4,2\n1,5;2,5\n", [("3,5", "4,2"), ("1,5", "2,5")]),
            ("ερώτηση;απάντηση\nΠού;Εδώ\n", [("Πού", "Εδώ")]),
            ("प्रश्न,उत्तर\nकहाँ,यहाँ\n", [("कहाँ", "यहाँ")]),  # names with marks that are no letters
            ("3,5;4,2\n1,5;2,5\n", [("3,5", "4,2"), ("1,5", "2,5")]),
            ("Hier;Dort\nWas, bitte?;Das, da.\nWer, ach?;Ich, du.\n", []),
            ('question,answer\n"a;b","c;d"\n"e;f","g;h"\n', [("a;b", "c;d"), ("e;f", "g;h")]),
            ("question,answer\nWhat; how?,So; thus.\nWho; what?,I; he.\n", [("What; how?", "So; thus.")]),
        ],
    )
    def test_is_not_taken_from_numbers_prose_or_quoted_cells(self, text: str, pairs: list[tuple[str, str]]) -> None:
        columns = Columns() if pairs else Columns(prompt="Hier", answer="Dort")
        made = table(text, columns=columns)
        assert made.pairs[: len(pairs) or None] == (pairs or [("Was, bitte?", "Das, da."), ("Wer, ach?", "Ich, du.")])

    def test_that_is_not_clear_stops_with_both_readings(self) -> None:
        with pytest.raises(PreparationRefused) as refused:
            table("Hallo,Welt;Gruß,Gott\nEins,zwei;drei,vier\nalt,neu;hin,her\n")
        assert (refused.value.code, refused.value.param) == ("delimiter_not_guessed", "delimiter")
        assert "`Hallo` | `Welt;Gruß` | `Gott`" in refused.value.message
        assert "`Hallo,Welt` | `Gruß,Gott`" in refused.value.message

    def test_is_absent_from_a_single_column(self) -> None:
        made = table("text\nHello, world.\nYes, no.\nA, b.\n", target_format="completion")
        assert [row["completion"].strip() for row in made.rows] == ["Hello, world.", "Yes, no.", "A, b."]
        assert detected(made)[:2] == ("none", "likely")
        assert "read as one column" in notes(made)

    def test_of_a_name_yields_to_the_content(self) -> None:
        assert table("question,answer\nWhy?,Because.\n", filename="a.tsv").pairs == [("Why?", "Because.")]

    @pytest.mark.parametrize(
        ("option", "delimiter"),
        [(";", ";"), ("tab", "\t"), ("\\t", "\t"), ("\t", "\t"), ("\\x1f", "\x1f"), ("\\u001F", "\x1f"), ("pipe", "|")],
    )
    def test_is_given_by_a_character_a_name_or_an_escape(self, option: str, delimiter: str) -> None:
        assert given_delimiter(option) == delimiter
        assert table(ROWS.format(delimiter), delimiter=option).pairs == TWO

    @pytest.mark.parametrize("option", ["::", '"', "", "\n"])
    def test_that_is_no_character_is_refused(self, option: str) -> None:
        with pytest.raises(PreparationRefused) as refused:
            given_delimiter(option)
        assert (refused.value.code, refused.value.param) == ("invalid_value", "delimiter")


class TestQuotes:
    def test_may_be_single(self) -> None:
        made = table("question,answer\n'Why, so?','Because, it''s so.'\n'Who?','Me, you.'\n")
        assert made.pairs == [("Why, so?", "Because, it's so."), ("Who?", "Me, you.")]
        assert "single quotes" in notes(made)

    def test_may_be_escaped_by_backslashes(self) -> None:
        made = table('question,answer\n"Say \\"hi\\", please","A \\\\ and \\frac"\n"Who?","Me"\n')
        assert made.pairs == [('Say "hi", please', "A \\ and \\frac"), ("Who?", "Me")]
        assert "backslash" in notes(made)

    def test_leave_backslashes_alone_where_the_cells_are_well_formed(self) -> None:
        made = table('question\tanswer\n{"a": "\\"b\\""}\tC:\\new\n', filename="a.tsv")
        assert made.pairs == [('{"a": "\\"b\\""}', "C:\\new")]

    def test_inside_a_cell_are_named_and_dropped_when_asked(self) -> None:
        text = 'question,answer\n5" pipe?,Yes\n"Why" so?,No\nWho?,Me\n'
        with pytest.raises(PreparationRefused, match="row 3: a quote stands inside"):
            table(text)
        made = table(text, fixes=("drop_unreadable",))
        assert made.pairs == [('5" pipe?', "Yes"), ("Who?", "Me")]
        assert made.result.rows_dropped == {"drop_unreadable": 1}

    def test_a_lone_carriage_return_is_a_line_break_of_its_cell(self) -> None:
        assert table('question,answer\n"Why\rso?",B\rC\nWho?,Me\n').pairs == [("Why\nso?", "B\nC"), ("Who?", "Me")]


class TestHeader:
    @pytest.mark.parametrize(
        "above",
        ["Report of 3 May\n\n", "Report of 3 May,\n", "# made by x\n# on 3 May, late\n", "\n\n", "Title\nMore\n"],
    )
    def test_is_found_below_titles_and_comments(self, above: str) -> None:
        made = table(f"{above}question,answer\nWhy?,Because.\nWho?,Me.\n")
        assert made.pairs == [("Why?", "Because."), ("Who?", "Me.")]
        assert ("title or comment" in notes(made)) == bool(above.strip())

    def test_of_unknown_names_is_found_below_a_title(self) -> None:
        text = "Report of 3 May\n\nspring,autumn\nThe river is high.,The river is low.\nGeese come.,Geese leave.\n"
        made = table(text, columns=Columns(prompt="spring", answer="autumn"))
        assert len(made.rows) == 2

    @pytest.mark.parametrize(
        "rows", ["Why is it?,Because it is.\nWho are you?,Me.\n", "great movie,positive\nbad one,bad\nso so,positive\n"]
    )
    def test_that_is_an_example_is_not_lost(self, rows: str) -> None:
        made = table(rows)
        assert len(made.rows) == rows.count("\n")
        assert detected(made)[2:] == ("false", "likely")
        assert "is taken for an example" in notes(made)
        assert made.result.options.columns == Columns(prompt="column_1", answer="column_2")

    def test_that_is_not_clear_needs_an_option(self) -> None:
        with pytest.raises(PreparationRefused, match="set the option `header` to false"):
            table("foo,bar\none,two\n")
        assert table("foo,bar\none,two\n", header=False).pairs == [("foo", "bar"), ("one", "two")]

    def test_is_overruled_by_the_option(self) -> None:
        made = table(
            "Why is it?,Because it is.\nWho are you?,Me.\n",
            header=True,
            columns=Columns(prompt="Why is it?", answer="Because it is."),
        )
        assert made.pairs == [("Who are you?", "Me.")]
        made = table("question,answer\nWho?,Me.\n", header=False)
        assert made.pairs == [("question", "answer"), ("Who?", "Me.")]
        assert detected(made)[2:] == ("false", "given")

    def test_of_three_columns_without_names_asks_for_columns(self) -> None:
        with pytest.raises(PreparationRefused, match="`column_1`, `column_2`, `column_3`"):
            table("Why is it?,Because it is.,1\nWho are you?,Me.,2\n")

    def test_with_types_below_and_a_footer(self) -> None:
        made = table("question,answer\nstring,string\nWhy?,Because.\nTotal,12\n")
        assert made.pairs == [("Why?", "Because.")]
        assert "row 2 (`string`, `string`)" in notes(made)
        assert "row 4 (`Total`, `12`)" in notes(made)

    def test_that_is_repeated_is_no_example(self) -> None:
        made = table("question,answer\nWhy?,Because.\nquestion,answer\nWho?,Me.\n")
        assert made.pairs == [("Why?", "Because."), ("Who?", "Me.")]
        assert "the header again: row 3." in notes(made)

    @pytest.mark.parametrize(
        "text",
        [
            "| question | answer |\n|---|:--:|\n| Why? | B. |\n",
            " question | answer \n----------+--------\n Why?     | B.\n(1 row)\n",
            "+----------+--------+\n| question | answer |\n+----------+--------+\n| Why?     | B.     |\n+---+---+\n",
        ],
    )
    def test_of_a_drawn_table(self, text: str) -> None:
        made = table(text)
        assert made.pairs == [("Why?", "B.")]
        assert "is drawn" in notes(made)

    def test_as_r_writes_it(self) -> None:
        assert table('"question" "answer"\n"1" "Why so?" "Because."\n"2" "Who?" "Me."\n').pairs == [
            ("Why so?", "Because."),
            ("Who?", "Me."),
        ]

    def test_of_a_text_and_its_label(self) -> None:
        assert table("text,label\nI like it.,good\nI hate it.,bad\n").pairs == [
            ("I like it.", "good"),
            ("I hate it.", "bad"),
        ]
        assert table("QUESTION_TEXT,ANSWER_TEXT\nWhy?,B.\n").pairs == [("Why?", "B.")]

    def test_that_is_absent_above_roles_and_turns_is_no_pair(self) -> None:
        with pytest.raises(PreparationRefused, match="roles in its first column"):
            table("user,Hello there.\nassistant,Hi.\nuser,How are you?\nassistant,Fine.\n")

    def test_of_a_text_file_makes_it_a_table(self) -> None:
        data = "question\tanswer\r\nWhy, so?\tBecause.\r\nWho?\tMe.\r\n".encode("utf-16")
        assert make(data, filename="excel.txt").pairs == TWO
        assert make(b"Hello, you.\nWell, me.\n", filename="a.txt").result.options.input_format == "txt"

    @pytest.mark.parametrize("rows", ["Total,12\nWhy?,Because.\n", "Why?,Because.\nTotal?,Twelve eggs.\n"])
    def test_words_of_footers_inside_the_table_stay(self, rows: str) -> None:
        assert len(table(f"question,answer\n{rows}").rows) == 2

    def test_all_rows_beyond_the_head_are_read(self) -> None:
        rows = "".join(f"Why {number}?,Because {number}.\n" for number in range(1_000))
        assert table("question,answer\n" + rows).result.rows_in == 1_000

    @pytest.mark.parametrize("text", [",question,answer\n0,a,b\n1,c,d\n", "question,answer\n1,a,b\n2,c,d\n"])
    def test_row_numbers_without_a_name_are_not_used(self, text: str) -> None:
        made = table(text)
        assert made.pairs == [("a", "b"), ("c", "d")]
        assert made.result.input is not None
        assert made.result.input.unused == {"column_1": 2}

    def test_names_that_occur_twice_are_numbered(self) -> None:
        made = table("question,answer,answer\na,b,c\n")
        assert made.pairs == [("a", "b")]
        assert made.result.input is not None
        assert made.result.input.columns == ["question", "answer", "answer_2"]
        assert made.result.input.unused == {"answer_2": 1}
        assert "`answer_2`" in notes(made)

    def test_names_may_have_line_breaks_and_marks_of_editors(self) -> None:
        made = table('"Question\n(user)","\ufeff ANSWER "\na,b\n', columns=Columns(prompt="question (user)"))
        assert made.pairs == [("a", "b")]

    @pytest.mark.parametrize(
        ("prompt", "answer"),
        [
            ("Frage", "Antwort"), ("Pregunta", "Respuesta"), ("Domanda", "Risposta"), ("Pergunta", "Resposta"),
            ("Consigne", "Réponse"), ("Вопрос", "Ответ"), ("質問", "回答"), ("질문", "답변"), ("問題", "答案"),
            ("Customer question", "Agent reply"), ("user_query", "idealAnswer"), ("Kundenfrage", "Musterantwort"),
            ("用户问题", "参考答案"),
        ],
    )  # fmt: skip
    def test_names_are_recognised_in_several_languages(self, prompt: str, answer: str) -> None:
        made = table(f"id,{prompt},{answer}\n1,a,b\n2,c,d\n")
        assert made.pairs == [("a", "b"), ("c", "d")]
        assert made.result.options.guessed_columns == ["prompt", "answer"]

    def test_names_of_ids_are_no_texts(self) -> None:
        with pytest.raises(PreparationRefused) as refused:
            table("question_id,answer\n1,b\n2,d\n")
        assert refused.value.code == "columns_not_guessed"


def test_many_rows_without_the_same_cell_have_a_cause() -> None:
    made = table("question,answer\nWhy?,a\n,b\n,c\nWho?,d\n")
    assert "2 of 4 rows were dropped since column `question` is empty" in notes(made)
    assert "were dropped since" not in notes(table("question,answer\n" + "Why?,a\n" * 20 + "Who?,\n"))
