"""Rows of each shape: recognised by one shape alone, and converted with everything that can be learnt."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from service.datasets.shapes import SHAPES, CannotConvert, NoText, shape_of
from tests.datasets.cases import CASES
from tests.datasets.shapes.examples import ROWS, ShapedRow

EXAMPLES = Path(__file__).parents[3] / "examples"
FILES = EXAMPLES.parent / "tests" / "real_files" / "files"
OF_OTHER_TOOLS = {"other_shape", "unknown_format", "arguments_invalid"}
"""Broken examples with a row of a known shape; that of `arguments_invalid` has arguments as Mistral has them."""

GENERAL = {"text", "prompts"}
"""Shapes that recognise what a more special one before them does."""


@pytest.mark.parametrize("case", ROWS, ids=lambda case: f"{case.shape}-{case.what}")
class TestRows:
    def test_is_recognised_by_its_shape_alone(self, case: ShapedRow) -> None:
        found = shape_of(case.row)
        assert found is not None
        assert found.name == case.shape
        others = {shape.name for shape in SHAPES.values() if not shape.only_by_name and shape.recognises(case.row)}
        assert others - {case.shape} <= GENERAL

    def test_becomes_its_examples(self, case: ShapedRow) -> None:
        shape = SHAPES[case.shape]
        if shape.resolve is not None:
            shape = SHAPES[shape.resolve([case.row])]
        if shape.convert is None:
            assert case.examples == []
            assert shape.by_columns or shape.advice or shape.join
        else:
            assert shape.convert(json.loads(json.dumps(case.row))) == case.examples


def valid_rows() -> Iterator[dict[str, Any]]:
    for path in EXAMPLES.rglob("*.jsonl"):
        if path.stem not in OF_OTHER_TOOLS:
            yield from objects(path.read_bytes())
    for code, cases in CASES.items():
        if code not in OF_OTHER_TOOLS:
            for case in cases:
                yield from objects(case.silent)


def objects(data: bytes) -> Iterator[dict[str, Any]]:
    for line in data.splitlines()[:300]:
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(row, dict):
            yield row


def test_rows_of_the_four_formats_have_no_shape() -> None:
    rows = [row for row in valid_rows() if row.keys() != {"prompt"}]  # a completion is missing, or there is none
    assert len(rows) > 2_000
    assert [(shape.name, row) for row in rows if (shape := shape_of(row)) is not None] == []


def test_every_shape_is_documented() -> None:
    page = (EXAMPLES.parent / "docs" / "preparations.md").read_text()
    table = page.partition("## Shapes of other tools")[2].partition("\n## ")[0]
    assert [name for name in SHAPES if f"`{name}`" not in table] == []


@pytest.mark.parametrize("path", sorted(FILES.glob("*.jsonl")), ids=lambda path: path.name)
def test_a_file_has_one_shape(path: Path) -> None:
    for row in objects(path.read_bytes()):
        found = [shape.name for shape in SHAPES.values() if not shape.only_by_name and shape.recognises(row)]
        assert len(set(found) - GENERAL) <= 1


@pytest.mark.parametrize(
    "row",
    [
        {"text": "I like it.", "a": "1", "b": "2", "label": "positive"},
        {"text": "[INST] Hi [/INST] Hello", "label": "toxic"},
        {"year": "2024", "accepted": "12", "rejected": "3"},
        {"question": "Why?", "answer": "Because.", "rank": "1"},
        {"instruction": "Say hi.", "input": "", "output": "Hi!"},
        {"name": "Rome", "history": "long", "response": "none"},
        {"text": "A plain text."},
    ],
)
def test_plain_tables_are_read_by_their_columns(row: dict[str, Any]) -> None:
    assert shape_of(row, table=True) is None


@pytest.mark.parametrize(
    ("shape", "row", "message"),
    [
        ("sharegpt", {"conversations": []}, "no turns"),
        ("sharegpt", {"conversations": [{"from": "narrator", "value": "x"}]}, 'turn 1: "narrator" is no known role'),
        ("sharegpt", {"conversations": [{"from": "gpt", "value": None}]}, "turn 1: its text"),
        ("sharegpt", {"conversations": [{"from": "tool", "value": "4"}]}, "no call comes before it"),
        ("sharegpt", {"conversations": [{"from": "gpt", "value": "x", "weight": 0.5}]}, "`weight` is 0.5"),
        ("sharegpt", {"conversations": [{"from": "human", "value": "x", "train": True}]}, "not the assistant's"),
        ("sharegpt", {"conversations": [{"from": "human", "value": "x"}], "images": ["a.png"]}, "a.png is a file"),
        ("sharegpt", {"conversations": [{"from": "human", "value": "<image>"}]}, "no image"),
        ("sharegpt", {"conversations": [{"from": "human", "value": "x"}], "videos": ["a.mp4"]}, "`videos`"),
        (
            "sharegpt",
            {"system": "a", "conversations": [{"from": "system", "value": "b"}, {"from": "human", "value": "x"}]},
            "two system prompts",
        ),
        ("sharegpt", {"conversations": [{"from": "human", "value": "x"}], "tools": "not JSON"}, "`tools`"),
        ("alpaca", {"instruction": "a", "output": "b", "history": [["only one"]]}, "pair 1 of `history` has 1"),
        ("alpaca", {"instruction": " ", "output": "b"}, "`instruction` is empty"),
        ("alpaca", {"instruction": "a", "output": ""}, "`output` is empty"),
        ("preference", {"prompt": "a", "chosen": "b", "rejected": "b"}, "nothing to prefer"),
        ("preference", {"prompt": "a", "chosen": "b", "rejected": ""}, "`rejected` is empty"),
        (
            "preference",
            {"chosen": [{"role": "assistant", "content": "a"}], "rejected": [{"role": "assistant", "content": "b"}]},
            "no prompt",
        ),
        (
            "preference",
            {
                "chosen": "\n\nHuman: Hi\n\nAssistant: a\n\nHuman: b\n\nAssistant: c",
                "rejected": "\n\nHuman: Hi\n\nAssistant: d",
            },
            "3 and 1 messages",
        ),
        ("ultrafeedback", {"instruction": "a", "completions": [{"response": "b", "score": 1}]}, "at least two"),
        ("multiple_choice_from_0", {"question": "q", "choices": ["a", "b"], "answer": 2}, "counted from 0"),
        ("multiple_choice", {"question": "q", "choices": ["a", "b"], "answer": "C"}, "none of the 2"),
        ("multiple_choice", {"question": "q", "choices": ["a", "b"], "answer": None}, "no answer"),
        ("oasst", {"prompt": {"text": "a", "role": "prompter", "replies": []}}, "no answer"),
        ("prompts", {"prompt": [{"role": "assistant", "content": "a"}]}, "ends with an answer"),
    ],
)
def test_what_has_no_place_is_named(shape: str, row: dict[str, Any], message: str) -> None:
    convert = SHAPES[shape].convert
    assert SHAPES[shape].recognises(row)
    assert convert is not None
    with pytest.raises(CannotConvert, match=re.escape(message)) as refused:
        convert(row)
    assert isinstance(refused.value, NoText) == ("empty" in message or message == "no answer")
