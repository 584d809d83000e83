"""Rows that cannot be read: the refusal says how to go on, and the fix drop_unreadable leaves out exactly those."""

from __future__ import annotations

import json

import pytest

from service.datasets.preparation.readers.text import MAX_LINE_BYTES
from service.datasets.preparation.refusals import PreparationRefused
from tests.datasets.preparation.sources import SAFE, make
from tests.datasets.rows import asked, jsonl

GOOD = jsonl(asked())
BAD_LINES = {
    "no JSON": b"{'messages': []}",
    "no object": b"[1, 2]",
    "NaN": b'{"messages": [], "score": NaN}',
    "a duplicate key": b'{"messages": [], "messages": []}',
    "half a surrogate pair": rb'{"messages": [{"role": "user", "content": "\ud83d"}]}',
    "too large a number": b'{"messages": [], "x": 1e999}',
    "nested too deep": b'{"a":' * 150 + b"1" + b"}" * 150,
    "too long": b'{"x": "' + b"x" * MAX_LINE_BYTES + b'"}',
    "no UTF-8": b'{"x": "\xff\xfe"}',
    "a NUL byte": b'{"x": "\x00"}',
}


@pytest.mark.parametrize("line", BAD_LINES.values(), ids=list(BAD_LINES))
def test_lines(line: bytes) -> None:
    data = GOOD + line + b"\n" + jsonl(asked("How?"))
    fixes = ["drop_unreadable"]
    with pytest.raises(PreparationRefused) as refused:
        make(data, fixes=())
    assert refused.value.message.startswith("line 2: ")
    assert refused.value.message.endswith("The fix drop_unreadable leaves out what cannot be read.")
    made = make(data, fixes=fixes)
    assert [question for question, _ in made.pairs] == ["Why?", "How?"]
    assert (made.result.rows_in, made.result.rows_dropped) == (3, {"drop_unreadable": 1})
    (change,) = [change for change in made.changes if change["fix"] == "drop_unreadable"]
    assert (change["line"], change["action"]) == (2, "dropped")
    assert list(made.result.drop_reasons) == [change["reason"]] or "…" in str(made.result.drop_reasons)


def test_rows_with_the_same_fault_have_one_reason_without_their_excerpts() -> None:
    cut = [f'{{"messages": [{{"role": "user", "content": "{word} {"x" * 80}\n' for word in ("One", "Two")]
    made = make("".join(cut).encode() + GOOD, fixes=["drop_unreadable"])
    ((reason, count),) = made.result.drop_reasons.items()
    assert (count, "It is at" in reason, "in line …, join" in reason) == (2, False, True)
    assert all(change["reason"].count("It is at: …") for change in made.changes if change["action"] == "dropped")


def test_items_of_a_json_array() -> None:
    items = [json.dumps(asked("Why?")), '{"messages": [], "messages": []}', json.dumps(asked("How?"))]
    made = make(f"[{','.join(items)}]".encode(), fixes=["drop_unreadable"])
    assert [question for question, _ in made.pairs] == ["Why?", "How?"]
    assert [change["line"] for change in made.changes if change["action"] == "dropped"] == [2]


def test_rows_of_a_table() -> None:
    data = b"question,answer\nWhy?,Because.\nHow?,So,so\nWhen?,Now.\n"
    with pytest.raises(PreparationRefused, match="row 3: it has 3 cells where the header has 2"):
        make(data, filename="data.csv")
    made = make(data, filename="data.csv", fixes=[*SAFE, "drop_unreadable"])
    assert [question for question, _ in made.pairs] == ["Why?", "When?"]
    assert made.result.rows_dropped == {"drop_unreadable": 1}


def test_rows_of_another_shape() -> None:
    turns = [{"from": "human", "value": "Why?"}, {"from": "gpt", "value": "Because."}]
    unknown = [*turns, {"from": "crow", "value": "x"}]
    rows = [{"conversations": turns}, {"conversations": turns}, {"conversations": unknown}]
    with pytest.raises(PreparationRefused, match=r"line 3: .*drop_unreadable"):
        make(jsonl(*rows))
    made = make(jsonl(*rows), fixes=[*SAFE, "drop_unreadable"])
    assert made.result.rows_dropped["drop_unreadable"] == 1
