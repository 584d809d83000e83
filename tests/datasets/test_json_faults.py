"""A line that is not JSON is explained in JSON's terms, at a position inside it."""

from __future__ import annotations

import json
import re
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.datasets.parsing.decode import decode_line
from service.datasets.parsing.json_faults import why_not_json
from service.datasets.preparation.options import chosen_fixes
from service.datasets.preparation.refusals import PreparationRefused
from service.datasets.report_schema import first_errors
from tests.datasets.preparation.sources import make
from tests.datasets.rows import asked, calling, findings_of, jsonl, report_on

GOOD = json.dumps(asked("Hi", "Yo"), ensure_ascii=False)
PARSERS_WORDS = re.compile(
    r"\b(Expecting|delimiter|codec|NoneType|dict|str|list|tuple|Traceback|property name enclosed|Extra data"
    r"|Unterminated|msgspec|trailing characters|malformed)\b"
)
INSERTED = ["", *"{}[]\"':,;\\\t\x00\x1e\ufeff\u00a0“=<#0aNx", "None", "//", "&quot;", '""', "\\u"]
PLACE = re.compile(r"at character (\d+) of this line: ")

EXPLAINED = [
    (str(asked("Hi", None)), 2, "Python's notation"),
    (GOOD.replace('"Hi"', "None"), GOOD.index('"Hi"') + 1, "Write null"),
    (GOOD.replace('"Hi"', "True"), GOOD.index('"Hi"') + 1, "Write true"),
    (GOOD.replace('"Hi"', "undefined"), GOOD.index('"Hi"') + 1, "Write null"),
    (GOOD.replace('"Hi"', "hi"), GOOD.index('"Hi"') + 1, "the text hi is not in quotes"),
    (GOOD.replace('"Hi"', "'Hi'"), GOOD.index('"Hi"') + 1, "Write double quotes"),
    (GOOD.replace('"Hi"', "“Hi”"), GOOD.index('"Hi"') + 1, "“ (U+201C) is a typographic quote"),
    (GOOD.replace('"Hi"', "01"), GOOD.index('"Hi"') + 2, "without leading zeros"),
    (GOOD.replace('"messages"', "messages"), 2, "the key messages is not in quotes"),
    (GOOD[:-1] + ",}", len(GOOD) + 1, "Remove the comma"),
    (GOOD[:-2] + ",]}", len(GOOD), "Remove the comma"),
    (GOOD.replace('"user", ', '"user" ', 1), GOOD.index('"content"'), "a comma is missing between two values"),
    ('{"a": [1 2]}', 10, "a comma is missing between two values"),
    ('{"a" "b"}', 6, "Write a colon"),
    ('{"a" = 1}', 6, "not by ="),
    ('{"a":}', 6, "a value is missing after the colon"),
    ('{"a": 1,, "b": 2}', 9, "a value is missing before the comma"),
    ('{"a": {"b": 1]}', 14, "] does not close the bracket"),
    (GOOD + "}", len(GOOD) + 1, "} closes nothing"),
    (GOOD + GOOD, len(GOOD) + 1, "the fix json_to_jsonl"),
    (GOOD + ",", len(GOOD) + 1, "a comma ends the line"),
    (GOOD + ";", len(GOOD) + 1, "a semicolon ends the line"),
    (GOOD + " # x", len(GOOD) + 2, "JSON has no comments"),
    (GOOD + " and more", len(GOOD) + 2, "text follows the end of the object"),
    ("// our data", 1, "this line is a comment"),
    ("```json", 1, "a Markdown code fence"),
    ("[", 1, "a part of an array"),
    ("\ufeff" + GOOD, 1, "a byte order mark"),
    (GOOD.replace(': "user"', ':\u00a0"user"'), GOOD.index(' "user"') + 1, "a special space (U+00A0)"),
    (GOOD.replace(': "user"', ':\u200b"user"'), GOOD.index(' "user"') + 1, "an invisible character (U+200B)"),
    (GOOD.replace('"', "&quot;"), 2, "Decode the HTML entities"),
    ('"' + GOOD.replace('"', '""') + '"', 1, "a cell of a CSV file"),
    (GOOD.replace('"', '\\"'), 2, "escaped with backslashes"),
    (GOOD.replace("Hi", 'say "hi" to'), GOOD.index("Hi") + 6, 'Write a quote inside a string as \\"'),
    (GOOD.replace("Hi", "H\ti"), GOOD.index("Hi") + 2, "Write it as \\t"),
    (GOOD.replace("Hi", "H\x07i"), GOOD.index("Hi") + 2, "U+0007"),
    (GOOD.replace("Hi", "\\d+"), GOOD.index("Hi") + 1, "\\d is no escape in JSON"),
    (GOOD.replace("Hi", "a\\_b"), GOOD.index("Hi") + 2, "\\_ is no escape in JSON"),
    (GOOD.replace("Hi", "it\\'s"), GOOD.index("Hi") + 3, "the apostrophe without a backslash"),
    (GOOD.replace("Hi", "C:\\users"), GOOD.index("Hi") + 3, "as in C:\\\\users"),
    (GOOD.replace("Hi", "C:\\xampp"), GOOD.index("Hi") + 3, "\\x is no escape"),
    (GOOD[:-1], len(GOOD) - 1, "the line ends before its object does"),
    ('{"a": "' + "x" * 32_760, 32_767, "the limit of a cell in Excel"),
    ("2026-01-31 INFO " + GOOD, 1, "the object, which begins at character 17"),
    ("hello", 1, "does not begin with {"),
]


@pytest.mark.parametrize(("line", "character", "words"), EXPLAINED)
def test_it_says_what_is_wrong_and_where(line: str, character: int, words: str) -> None:
    row, faults = decode_line(line.encode(), 0)
    assert row is None
    (fault,) = faults
    assert fault.code == "invalid_json"
    assert fault.message.startswith(f"Not JSON at character {character} of this line: ")
    assert words in fault.message
    assert fault.at == character - 1
    assert not PARSERS_WORDS.search(fault.message)


@given(seed=st.integers(0, 2**64))
@settings(max_examples=200, deadline=None)
def test_any_corruption_is_explained_inside_the_line(seed: int) -> None:
    random = Random(seed)
    line = json.dumps(random.choice([asked("Hi", "Yo"), calling(), {"a": [1.5, None, True, "ü"]}]), ensure_ascii=False)
    for _ in range(random.randint(1, 3)):
        at = random.randrange(len(line))
        inserted = random.choice(
            ["", *"{}[]\"':,;\\\t\x00\x1e\ufeff\u00a0“=<#0aNx", "None", "//", "&quot;", '""', "\\u"]
        )
        line = line[:at] + inserted + line[at + random.randint(0, 3) :]
        line = line or "x"
    row, faults = decode_line(line.encode(), 0, ends_file=random.random() < 0.3)
    assert row is not None or faults
    for fault in faults:
        assert not PARSERS_WORDS.search(fault.message)
        if fault.code == "invalid_json":
            place = PLACE.search(fault.message)
            assert place is not None
            assert 1 <= int(place.group(1)) <= len(line.replace("\x00", ""))
            assert 0 <= fault.at < len(line)
            assert fault.message.endswith((".", "?"))


def test_a_file_that_ends_in_a_line() -> None:
    (finding,) = findings_of(report_on(jsonl(asked()) + GOOD[:40].encode()), "invalid_json")
    assert finding.line == 2
    assert "the file ends in the middle of this line" in finding.message


class TestARecordOverSeveralLines:
    def test_is_one_finding_that_names_both_lines(self) -> None:
        parts = GOOD.replace("Hi", "Dear all,\n\nsee you.\nAnn").encode().split(b"\n")
        report = report_on(jsonl(asked(), *parts, asked()))
        (finding,) = findings_of(report, "invalid_json")
        assert finding.line == 2
        assert "If it goes on in line 3" in finding.message
        assert (report.errors, report.lines_with_errors, report.examples) == (1, 1, 2)

    def test_ends_where_its_string_is_closed(self) -> None:
        first, second = GOOD.replace("Hi", "one\ntwo").encode().split(b"\n")
        report = report_on(jsonl(first, second, "hello", first, asked(), "[1]"))
        assert [finding.line for finding in findings_of(report, "invalid_json")] == [1, 3, 4]
        assert [finding.line for finding in findings_of(report, "not_an_object")] == [6]


def test_an_object_that_was_encoded_twice() -> None:
    (finding,) = findings_of(report_on(jsonl(asked(), json.dumps(GOOD))), "not_an_object")
    assert "encoded twice" in finding.message


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("", "are not JSON: they are empty. Write {}"),
        ("{'city': 'Rome'}", "at character 2: the quotes are single"),
        ('{"city": "Rome"', "the text ends before its object does"),
        ('{"city": NaN}', "they contain NaN"),
        ("[" * 200_000, "nested too deep"),
    ],
)
def test_arguments_of_calls_are_explained_alike(arguments: str, words: str) -> None:
    message = f"The arguments are not JSON{why_not_json(arguments)}"
    assert words in message
    assert "line" not in message
    assert not PARSERS_WORDS.search(message)


class TestPreparations:
    def test_a_long_row_is_refused_with_what_stands_at_the_fault(self) -> None:
        row = asked("word " * 40, "Yo")
        data = jsonl(asked(), json.dumps(row).replace('"Yo"', "Yo"))
        with pytest.raises(PreparationRefused) as refused:
            make(data, filename="data.jsonl")
        assert "line 2: Not JSON at character" in refused.value.message
        assert '"content": Yo' in refused.value.message
        assert refused.value.message.endswith("The fix drop_unreadable leaves out what cannot be read.")

    def test_a_record_over_two_lines_is_named_once(self) -> None:
        first, second = GOOD.replace("Hi", "one\ntwo").encode().split(b"\n")
        with pytest.raises(PreparationRefused) as refused:
            make(jsonl(asked(), first, second), filename="data.jsonl")
        assert "line 2: " in refused.value.message
        assert "If it goes on in line 3" in refused.value.message
        assert "line 3: " not in refused.value.message

    def test_its_lines_are_all_dropped_when_asked(self) -> None:
        first, second = GOOD.replace("Hi", "one\ntwo").encode().split(b"\n")
        made = make(jsonl(asked(), first, second), filename="data.jsonl", fixes=chosen_fixes("safe,+drop_unreadable"))
        assert made.result.rows_dropped == {"drop_unreadable": 2}
        assert (made.result.rows_in, made.result.rows_out) == (3, 1)

    def test_an_item_of_an_array_is_no_line(self) -> None:
        with pytest.raises(PreparationRefused) as refused:
            make(b'[{"messages": []}, {"a": nope}]', filename="data.json")
        assert "item 2: Not JSON at character 7 of this item: the text nope" in refused.value.message


def test_a_job_is_refused_with_lines_and_reasons() -> None:
    report = report_on(b"version https://git-lfs.github.com/spec/v1\noid sha256:46\nsize 217\n")
    assert first_errors(report) == (
        "line 1: The file is a Git LFS pointer, not training data. Run `git lfs pull`, then use the file again."
    )
