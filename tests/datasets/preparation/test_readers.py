"""Every kind of file, and what is nasty about each."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.datasets.preparation.options import Columns
from service.datasets.preparation.readers.json_scan import json_texts
from service.datasets.preparation.refusals import PreparationRefused
from tests.datasets.preparation.sources import ALL, SAFE, Date, make, workbook
from tests.datasets.rows import asked, chat, graded, jsonl, pair

ONE = [("Why?", "Because.")]
TWO = [("Why?", "Because."), ("Who?", "Me.")]
GERMAN = [("Größe?", "Müßig – „ja“ für 5 €.")]
CHINESE = [("这是什么问题?", "这是我们的回答,请您看一看。")]
RUSSIAN = [("Что это такое?", "Это ответ на вопрос.")]
JAPANESE = [("これはなんですか?", "これはテストの答えです。")]
KOREAN = [("이것은 무엇입니까?", "이것은 대답입니다.")]

TABLES: dict[str, tuple[str, bytes, list[tuple[str, str]]]] = {
    "csv": ("a.csv", b"question,answer\nWhy?,Because.\nWho?,Me.\n", TWO),
    "csv-without-a-name": ("data", b"question,answer\nWhy?,Because.\n", ONE),
    "csv-posted-as-jsonl": ("a.jsonl", b"question,answer\nWhy?,Because.\n", ONE),
    "quotes": ("a.csv", b'question,answer\n"Say ""hi"", please","a,b"\n', [('Say "hi", please', "a,b")]),
    "newlines-in-cells": ("a.csv", b'question,answer\n"one\n\ntwo",x\nWho?,y\n', [("one\n\ntwo", "x"), ("Who?", "y")]),
    "crlf-in-cells": ("a.csv", b'question,answer\r\n"one\r\ntwo",x\r\n', [("one\ntwo", "x")]),
    "bom": ("a.csv", b"\xef\xbb\xbfquestion,answer\nWhy?,Because.\n", ONE),
    "semicolons": ("a.csv", b"question;answer\nWhy, so?;Because, so.\n", [("Why, so?", "Because, so.")]),
    "pipes": ("a.csv", b"question|answer\nWhy?|Because.\n", ONE),
    "tabs": ("a.tsv", b"question\tanswer\nWhy?\tBecause.\n", ONE),
    "tabs-in-csv": ("a.csv", b"question\tanswer\nWhy?\tBecause.\n", ONE),
    "mac-newlines": ("a.csv", b"question,answer\rWhy?,Because.\r", ONE),
    "latin-1": ("a.csv", "question,answer\nGröße?,Müßig – „ja“ für 5 €.\n".encode("cp1252"), GERMAN),
    "gb18030": ("a.csv", 'question,answer\n这是什么问题?,"这是我们的回答,请您看一看。"\n'.encode("gb18030"), CHINESE),
    "windows-1251": ("a.csv", "question,answer\nЧто это такое?,Это ответ на вопрос.\n".encode("cp1251"), RUSSIAN),
    "shift-jis": ("a.csv", "question,answer\nこれはなんですか?,これはテストの答えです。\n".encode("cp932"), JAPANESE),
    "euc-kr": ("a.csv", "question,answer\n이것은 무엇입니까?,이것은 대답입니다.\n".encode("euc_kr"), KOREAN),
    "utf-16": ("a.csv", "question\tanswer\nGröße?\tMüßig – „ja“ für 5 €.\n".encode("utf-16"), GERMAN),
    "utf-16-without-bom": ("a.csv", "question,answer\nWhy?,Because.\n".encode("utf-16-le"), ONE),
    "gzip": ("a.csv.gz", gzip.compress(b"question,answer\nWhy?,Because.\n"), ONE),
    "blank-rows": ("a.csv", b"\n,\nquestion,answer\n\n,\nWhy?,Because.\n , \n", ONE),
    "short-rows": ("a.csv", b"question,answer,note\nWhy?,Because.\n", ONE),
    "empty-columns-at-the-end": ("a.csv", b"question,answer,,\nWhy?,Because.,,\n", ONE),
    "spaces-around": ("a.csv", b" Question , ANSWER \n Why? , Because. \n", ONE),
    "nul-bytes": ("a.csv", b"question,answer\nWhy\x00?,Because.\n", ONE),
    "no-newline-at-the-end": ("a.csv", b"question,answer\nWhy?,Because.", ONE),
    "json-array": ("a.json", json.dumps([{"question": "Why?", "answer": "Because."}], indent=1).encode(), ONE),
    "json-array-on-a-line": ("a", b'[{"question":"Why?","answer":"Because."},{"question":"Who?","answer":"Me."}]', TWO),
    "json-array-under-a-key": ("a.json", b'{"version": 1, "data": [{"question": "Why?", "answer": "Because."}]}', ONE),
    "json-arrays-in-an-object": ("a.json", b'{"question": ["Why?", "Who?"], "answer": ["Because.", "Me."]}', TWO),
    "json-by-pandas": ("a.json", b'{"question":{"0":"Why?","1":"Who?"},"answer":{"0":"Because.","1":"Me."}}', TWO),
    "json-objects-in-a-row": (
        "a.json",
        b'{"question":"Why?",\n"answer":"Because."}\n{"question":"Who?","answer":"Me."}',
        TWO,
    ),
    "json-with-brackets-in-strings": ("a.json", b'[{"question":"]}\\"[{","answer":"a"}]', [(']}"[{', "a")]),
    "json-with-bom": ("a.json", b'\xef\xbb\xbf[{"question":"Why?","answer":"Because."}]', ONE),
    "json-in-latin-1": ("a.json", '[{"question":"Größe?","answer":"Müßig – „ja“ für 5 €."}]'.encode("cp1252"), GERMAN),
    "json-lines": ("a.jsonl", b'{"question":"Why?","answer":"Because."}\n\n{"question":"Who?","answer":"Me."}\n', TWO),
    "json-lines-called-json": (
        "a.json",
        b'{"question":"Why?","answer":"Because."}\n{"question":"Who?","answer":"Me."}',
        TWO,
    ),
    "json-numbers": (
        "a.json",
        b'[{"question": 3.0, "answer": true}, {"question": 2.5, "answer": 7}]',
        [("3", "true"), ("2.5", "7")],
    ),
    "xlsx": ("a.xlsx", workbook([["question", "answer"], ["Why?", "Because."]]), ONE),
    "xlsx-under-another-name": ("a.csv", workbook([["question", "answer"], ["Why?", "Because."]]), ONE),
    "xlsx-numbers-and-dates": (
        "a.xlsx",
        workbook([["question", "answer"], [1, 2.5], [Date(45292), True], [Date(45292.75), 1e3]]),
        [("1", "2.5"), ("2024-01-01", "true"), ("2024-01-01 18:00:00", "1000")],
    ),
    "xlsx-hidden-sheet-first": (
        "a.xlsx",
        workbook([["question", "answer"], ["Why?", "Because."]], hidden_first=True),
        ONE,
    ),
    "xlsx-blank-rows-above": (
        "a.xlsx",
        workbook([[None], [None], ["question", "answer"], [None], ["Why?", "Because."]]),
        ONE,
    ),
}


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("piece_bytes", [3, 1 << 16])
def test_a_table_becomes_questions_and_answers(name: str, piece_bytes: int) -> None:
    filename, data, pairs = TABLES[name]
    if piece_bytes == 3 and (name == "gzip" or name.startswith(("xlsx", "utf-16", "mac"))):
        return  # detected by their first bytes, which arrive in pieces of a megabyte
    made = make(data, filename=filename, piece_bytes=piece_bytes)
    assert made.pairs == pairs
    options = made.result.options
    assert options.columns is not None
    assert options.columns.prompt is not None
    assert options.guessed_columns == ["prompt", "answer"]


REFUSED: dict[str, tuple[str, bytes, str]] = {
    "empty": ("a.csv", b"", "The file is empty"),
    "white space": ("a.jsonl", b" \n\n", "nothing but white space"),
    "an open quote": ("a.csv", b'question,answer\nWhy?,"Because\nWho?,Me\n', "never closed"),
    "a stray quote": (
        "a.csv",
        b'question,answer\n"Why" not?,x\n',
        "row 2: a quote stands inside a quoted cell; write it twice",
    ),
    "too many cells": ("a.csv", b"question,answer\nWhy?,a,b\n", "row 2: it has 3 cells where the header has 2"),
    "a column twice": ("a.csv", b"question,question\na,b\n", "the file has `question`, `question_2`"),
    "no known column": ("a.csv", b"foo,bar\n1,2\n", "the file has `foo`, `bar`"),
    "no rows": ("a.csv", b"question,answer\n", "The file has no rows"),
    "only blank rows": ("a.csv", b",\n\n", "no header row"),
    "a lone prompt": ("a.csv", b"question,foo\n1,2\n", "holds the answer"),
    "no workbook": ("a.xlsx", b"PK\x03\x04rest", "The workbook cannot be read"),
    "an empty workbook": ("a.xlsx", workbook([]), "no visible sheet with content"),
    "damaged gzip": ("a.csv.gz", gzip.compress(b"question,answer\n" * 50)[:-9], "compressed with gzip and damaged"),
    "zstd": ("a.csv", b"(\xb5/\xfdrest", "compressed with zstd"),
    "parquet": ("a.parquet", b"PAR1rest", "a Parquet file"),
    "an open array": ("a.json", b'[{"question": "Why?"}, {"question":', "item 2: the file ends in the middle"),
    "two arrays": ("a.json", b'[{"question": "a"}]\n[1]', "item 2: A line holds one JSON"),
    "a closed bracket too many": ("a.json", b'{"question": "a"}]', "never opened"),
    "json of nothing": ("a.json", b"[]", "no JSON object"),
    "items that are no objects": (
        "a.json",
        b'[1, "x", {"question": "a", "answer": "b"}]',
        "item 1: A line holds one JSON",
    ),
    "cells that are lists": (
        "a.json",
        b'[{"question": ["a"], "answer": "b"}, {"question": "a", "answer": {}}]',
        "item 1: column `question` holds a list",
    ),
    "bad lines": ("a.jsonl", jsonl(chat(), "{oops", chat(), '{"a": NaN}'), "line 2: Not JSON"),
    "a first line of rubbish": ("a", jsonl("hello, world", chat()), "line 1: Not JSON"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_read_is_refused_with_its_place(name: str) -> None:
    filename, data, words = REFUSED[name]
    with pytest.raises(PreparationRefused) as refused:
        make(data, filename=filename)
    assert words in refused.value.message
    assert refused.value.message.endswith((".", "?"))


class TestWithoutFixes:
    @pytest.mark.parametrize(
        ("data", "words"),
        [
            (b"question,answer\nWhy\xe9?,x\n", "line 2: byte 0xe9 at position 4 is not UTF-8; the fix reencode_utf8"),
            (b"question,answer\nWh\x00y?,x\n", "NUL byte; the fix strip_nul_bytes"),
            ("question,answer\nWhy?,x\n".encode("utf-16"), "utf-16; the fix reencode_utf8"),
            (b"question,answer\nWhy?,\nWho?, \n", "row 2: column `answer` is empty; the fix drop_empty_messages"),
            (b"question,answer\n ,x\n", "row 2: column `question` is empty"),
        ],
    )
    def test_the_row_and_the_fix_are_named(self, data: bytes, words: str) -> None:
        with pytest.raises(PreparationRefused) as refused:
            make(data, filename="a.csv", fixes=())
        assert words in refused.value.message

    def test_several_rows_are_named_and_all_are_counted(self) -> None:
        data = b"question,answer\n" + b"Why?,\n" * 9
        with pytest.raises(PreparationRefused) as refused:
            make(data, filename="a.csv", fixes=())
        assert refused.value.message.count("column `answer`") == 5
        assert "(9 in all)" in refused.value.message


class TestFormatsOfTheirOwn:
    @pytest.mark.parametrize("row", [chat(), asked(), pair(), graded(), {"prompt": "a ->", "completion": " b"}])
    def test_pass_through(self, row: dict[str, Any]) -> None:
        made = make(jsonl(row, {**row, "x": 1} if "prompt" not in row else row), fixes=())
        assert made.rows[0] == row
        assert made.result.options.columns is None

    def test_other_formats_in_the_file_stay_for_the_report_to_name(self) -> None:
        assert make(jsonl(chat(), asked(), pair()), fixes=()).rows == [chat(), asked(), pair()]

    def test_what_they_cannot_become_is_refused(self) -> None:
        for options in ({"target_format": "completion"}, {"template": "{messages}"}, {"columns": Columns(prompt="x")}):
            with pytest.raises(PreparationRefused) as refused:
                make(jsonl(chat()), **options)
            assert refused.value.code == "conflicting_parameters"

    def test_completions_can_become_chat(self) -> None:
        made = make(b'{"prompt": "Why? ", "completion": " Because."}', target_format="chat")
        assert made.pairs == ONE

    def test_integers_beyond_64_bits_survive(self) -> None:
        row = asked(parallel_tool_calls=2**70)
        assert make(jsonl(row), fixes=()).rows == [row]


class TestText:
    def test_lines_are_answers_to_nothing(self) -> None:
        made = make(b"One, two.\n\nThree.\r\n", filename="a.txt", fixes=())
        assert made.rows == [{"prompt": "", "completion": "One, two."}, {"prompt": "", "completion": "Three."}]
        assert made.result.options.target_format == "completion"

    def test_chat_needs_a_question(self) -> None:
        with pytest.raises(PreparationRefused, match="answers without questions"):
            make(b"One.\n", filename="a.txt", target_format="chat")
        made = make(b"One.\n", filename="a.txt", target_format="chat", template="Say something.")
        assert made.pairs == [("Say something.", "One.")]


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_json_values_are_the_same_in_pieces_of_any_size(size: int) -> None:
    text = b'[ {"a": "]\\\\"}, [1, [2]], "x,\\"y", 5 ,{"b":{}} ]'
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    assert list(json_texts(pieces)) == [b'{"a": "]\\\\"}', b"[1, [2]]", b'"x,\\"y"', b"5", b'{"b":{}}']


SEEDS = [data for _, data, _ in TABLES.values()] + [data for _, data, _ in REFUSED.values()]


@given(
    data=st.one_of(
        st.binary(max_size=200),
        st.text('{}[]",:\\\n question', max_size=60).map(str.encode),
        st.tuples(st.sampled_from(SEEDS), st.integers(0, 400), st.binary(max_size=4)).map(
            lambda cut: cut[0][: cut[1]] + cut[2] + cut[0][cut[1] + 1 :]
        ),
    ),
    filename=st.sampled_from(["a", "a.csv", "a.tsv", "a.json", "a.jsonl", "a.txt", "a.xlsx", "a.csv.gz"]),
    fixes=st.sampled_from([(), SAFE, ALL]),
)
def test_whatever_the_bytes_are_there_is_a_dataset_or_a_reason(
    data: bytes, filename: str, fixes: tuple[str, ...]
) -> None:
    try:
        made = make(data, filename=filename, fixes=fixes)
    except PreparationRefused as error:
        assert error.message
        return
    assert len(made.rows) == made.result.rows_out > 0


@pytest.mark.parametrize(
    ("data", "filename", "options", "ignored"),
    [
        (b"question,answer\nWhy?,So.\n", "a.csv", {"sheet": "x"}, ["sheet"]),
        (jsonl(asked()), "a.jsonl", {"header": True, "sheet": "x"}, ["header", "sheet"]),
        (TABLES["xlsx"][1], "a.xlsx", {"encoding": "cp1250", "delimiter": ";"}, ["encoding", "delimiter"]),
        (b"question;answer\nWhy?;So.\n", "a.csv", {"encoding": "cp1250", "delimiter": ";", "header": True}, []),
    ],
)  # fmt: skip
def test_an_option_that_a_file_has_no_use_for_is_named(
    data: bytes, filename: str, options: dict[str, Any], ignored: list[str]
) -> None:
    notes = make(data, filename=filename, **options).result.notes
    assert [note.split("`")[1] for note in notes if note.endswith("has no effect.")] == ignored
