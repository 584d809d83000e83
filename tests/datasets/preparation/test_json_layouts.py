"""JSON that is not JSON Lines: what is kept of a file that ends early, which list is read, and what is said of it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from service.datasets.parsing.json_layouts import layout_of
from service.datasets.preparation.readers.json_scan import CutOff, json_texts
from service.datasets.preparation.refusals import PreparationRefused
from service.datasets.shapes.folded import fold_of
from service.datasets.shapes.json_texts import parsed
from tests.datasets.preparation.sources import SAFE, Made, make
from tests.datasets.rows import asked, jsonl

ONE, TWO, THREE = (asked(f"Question {number}?", f"Answer {number}.") for number in range(3))
KEPT = [*SAFE, "drop_unreadable"]


def text(value: Any, **layout: Any) -> bytes:
    return json.dumps(value, **layout).encode()


def balanced(made: Made) -> bool:
    result = made.result
    return result.rows_in + result.rows_added == result.rows_out + result.rows_joined + sum(
        result.rows_dropped.values()
    )


class TestSeparators:
    @pytest.mark.parametrize("between", [b"", b" ", b",", b",\n", b"\\n", b"\\r\\n", b"\n\x1e", b"\n\n", b" , "])
    @pytest.mark.parametrize("filename", ["a.jsonl", "a.json"])
    def test_objects_are_separated_by_anything_that_is_no_value(self, between: bytes, filename: str) -> None:
        made = make(between.join(text(row) for row in (ONE, TWO, THREE)), filename=filename)
        assert made.rows == [ONE, TWO, THREE]
        assert balanced(made)

    def test_two_objects_on_one_line_of_many_keep_its_number(self) -> None:
        made = make(jsonl(ONE) + text(TWO) + text(THREE) + b"\n", filename="a.jsonl")
        assert made.rows == [ONE, TWO, THREE]
        assert [(change["fix"], change["line"]) for change in made.changes] == [("json_to_jsonl", 2)]

    @pytest.mark.parametrize("size", [1, 2, 7, 1000])
    def test_values_are_the_same_in_pieces_of_any_size(self, size: int) -> None:
        data = b'{"a": "\\\\"}\\n{"b": "}"}\x1e "x\\"y" [1, {"c": 2}]\n[{"d": 3}],'
        pieces = [data[at : at + size] for at in range(0, len(data), size)]
        expected = [b'{"a": "\\\\"}', b'{"b": "}"}', b'"x\\"y"', b'[1, {"c": 2}]', b'[{"d": 3}]']
        assert list(json_texts(pieces)) == expected

    @pytest.mark.parametrize("data", [b'[{"a": 1}, {"b', b'{"a": "x', b'[{"a": 1}', b'{"a": [1, 2]'])
    def test_a_text_that_ends_early_is_cut_off(self, data: bytes) -> None:
        with pytest.raises(CutOff):
            list(json_texts([data]))

    def test_most_of_the_first_lines_decide_the_layout(self) -> None:
        plain = text(ONE)
        assert layout_of([plain] * 5) is None
        assert layout_of([plain, plain + b",", plain]) is None
        assert layout_of([plain + b",", plain + b",", plain]) == "commas"
        assert layout_of([plain + plain]) == "side by side"
        assert layout_of([b"question,answer", b'"a","b"']) is None


class TestCutOff:
    def test_what_is_complete_is_kept_if_that_is_chosen(self) -> None:
        data = text([ONE, TWO, THREE], indent=1)[:-40]
        with pytest.raises(PreparationRefused, match="item 3: the file ends in the middle of it, in line "):
            make(data, filename="a.json")
        made = make(data, filename="a.json", fixes=KEPT)
        assert made.rows == [ONE, TWO]
        assert made.result.rows_dropped == {"drop_unreadable": 1}
        assert balanced(made)

    def test_an_array_that_is_not_closed(self) -> None:
        data = b"[" + text(ONE) + b",\n" + text(TWO) + b",\n"
        with pytest.raises(PreparationRefused, match="line 3: the array is not closed"):
            make(data, filename="a.json")
        made = make(data, filename="a.json", fixes=KEPT)
        assert made.rows == [ONE, TWO]
        assert "The array is not closed: the file ends after item 2" in made.result.notes[0]

    def test_the_last_line(self) -> None:
        data = jsonl(ONE) + text(TWO)[:30]
        with pytest.raises(PreparationRefused, match=r"line 2: .*the file ends in the middle of this line"):
            make(data, filename="a.jsonl")
        assert make(data, filename="a.jsonl", fixes=KEPT).rows == [ONE]


class TestListsInAnObject:
    SPLITS = text({"train": [ONE, TWO], "validation": [THREE]})

    def test_the_split_called_train_is_read_and_the_others_are_named(self) -> None:
        made = make(self.SPLITS, filename="a.json")
        assert made.rows == [ONE, TWO]
        assert made.result.input is not None
        assert (made.result.input.sheet, made.result.input.sheets_not_read) == ("/train", ["/validation"])

    @pytest.mark.parametrize("sheet", ["validation", "/validation"])
    def test_the_option_names_another(self, sheet: str) -> None:
        assert make(self.SPLITS, filename="a.json", sheet=sheet).rows == [THREE]

    @pytest.mark.parametrize("data", [SPLITS, text([ONE, TWO])])
    def test_a_list_that_is_not_there(self, data: bytes) -> None:
        with pytest.raises(PreparationRefused) as refused:
            make(data, filename="a.json", sheet="test")
        assert refused.value.param == "sheet"

    def test_columns_in_splits(self) -> None:
        data = text({"train": {"question": ["Why?"], "answer": ["So."]}, "test": {"question": ["a"], "answer": ["b"]}})
        assert make(data, filename="a.json").pairs == [("Why?", "So.")]

    def test_a_data_frame_with_its_columns_once(self) -> None:
        data = text({"columns": ["question", "answer"], "index": [0], "data": [["Why?", "So."]]})
        assert make(data, filename="a.json").pairs == [("Why?", "So.")]

    def test_one_object_with_one_conversation_is_a_row(self) -> None:
        turns = [{"from": "human", "value": "Why?"}, {"from": "gpt", "value": "So."}]
        assert make(text({"id": 1, "conversations": turns}), filename="a.json").pairs == [("Why?", "So.")]

    def test_conversations_by_id_and_in_arrays(self) -> None:
        both = [ONE["messages"], TWO["messages"]]
        assert make(text({"a": both[0], "b": both[1]}), filename="a.json").rows == [ONE, TWO]
        assert make(text(both), filename="a.json").rows == [ONE, TWO]

    def test_arrays_without_a_header_if_the_option_says_so(self) -> None:
        data = text([["Why?", "So."], ["Who?", "Me."]])
        made = make(data, filename="a.json", header=False, template="{column_1}")
        assert [pair[0] for pair in made.pairs] == ["Why?", "Who?"]


class TestTexts:
    def test_a_value_that_is_json_is_no_conversation(self) -> None:
        row = {
            "input": {"messages": [ONE["messages"][0]]},
            "preferred_output": [{"role": "assistant", "content": "[1]"}],
            "non_preferred_output": [{"role": "assistant", "content": "[2]"}],
        }
        assert make(jsonl(row)).rows == [row]
        answers = {"question": "As JSON", "answer": '[{"name": "a"}]'}
        assert make(jsonl(answers)).pairs == [("As JSON", '[{"name": "a"}]')]

    def test_an_answer_of_json_is_no_list_of_messages(self) -> None:
        assert fold_of({"prompt": "As JSON", "chosen": '[{"name": "a"}]', "rejected": '[{"name": "b"}]'}) is None

    def test_a_row_whose_text_is_broken_is_named(self) -> None:
        broken = {"messages": json.dumps(TWO["messages"])[:-5]}
        data = jsonl({"messages": json.dumps(ONE["messages"])}, broken)
        with pytest.raises(PreparationRefused, match="line 2: the text in `messages` is neither JSON nor Python"):
            make(data)
        assert make(data, fixes=KEPT).rows == [ONE]

    def test_items_keep_what_stands_beside_them(self) -> None:
        rows = [{"item": {"messages": [{"role": "user", "content": "Why?"}]}, "reference": "So."}]
        assert make(jsonl(*rows)).rows == [{"messages": rows[0]["item"]["messages"], "reference": "So."}]  # type: ignore[index]

    @pytest.mark.parametrize(
        ("written", "value"),
        [
            ("[{'a': None, 'b': True}]", [{"a": None, "b": True}]),
            ("[{'a': 'x'}\n {'b': \"it's\"}]", [{"a": "x"}, {"b": "it's"}]),
            ("array([{'a': '} {'},\n       {'b': array([1, 2])}], dtype=object)", [{"a": "} {"}, {"b": [1, 2]}]),
            ("[array([{'a': 'x'}], dtype=object)]", [[{"a": "x"}]]),
        ],
    )
    def test_notations_of_python(self, written: str, value: object) -> None:
        assert parsed(written) == value

    @pytest.mark.parametrize("written", ["[open('x')]", "[" * 5_000 + "'a'" + "]" * 5_000, "['a'] * 9", "[{'a': 1}"])
    def test_what_is_no_value_stays_a_text(self, written: str) -> None:
        assert parsed(written) == written
