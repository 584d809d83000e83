"""Shapes in a preparation: what is joined, resolved, refused, and said of it."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest

from service.datasets.preparation.inputs import Unused
from service.datasets.preparation.refusals import PreparationRefused
from service.datasets.shapes import SHAPES, json_texts, oasst
from service.datasets.shapes.json_texts import parsed
from tests.datasets.preparation.sources import ALL, SAFE, make
from tests.datasets.rows import jsonl
from tests.datasets.shapes.examples import HELLO, pair

UNREADABLE = (*SAFE, "drop_unreadable")


def post(id: str, parent: str | None, role: str, rank: float | None = None, **more: Any) -> dict[str, Any]:
    text = more.pop("text", f"Text {id}.")
    return {"message_id": id, "parent_id": parent, "role": role, "rank": rank, "text": text, **more}


TREE = [
    post("a", None, "prompter"),
    post("b", "a", "assistant", 1),
    post("c", "a", "assistant", 0),
    post("d", "c", "prompter", 0),
    post("e", "c", "prompter", 1),
    post("f", "e", "assistant", 0),
    post("g", "f", "prompter"),
]
PATH = ["Text a.", "Text c.", "Text e.", "Text f."]


class TestMessagesOfTrees:
    @pytest.mark.parametrize("order", list(itertools.permutations(range(len(TREE))))[::397])
    def test_are_joined_in_any_order(self, order: tuple[int, ...]) -> None:
        made = make(jsonl(*[TREE[place] for place in order]))
        assert [[each["content"] for each in row["messages"]] for row in made.rows] == [PATH]
        assert made.result.rows_in == 7
        assert made.result.rows_joined == 3
        assert made.result.rows_dropped == {"convert_shape": 3}
        dropped = [change for change in made.changes if change["action"] == "dropped"]
        assert {change["line"] for change in dropped} == {order.index(place) + 1 for place in (1, 3, 6)}

    def test_that_were_removed_are_not_used(self) -> None:
        rows = [
            *TREE[:3],
            post("h", "a", "assistant", 0, deleted=True),
            post("i", "a", "assistant", -1, review_result=False),
        ]
        made = make(jsonl(*rows))
        assert [each["content"] for each in made.rows[0]["messages"]] == PATH[:2]
        assert "It was removed." in {change["reason"] for change in made.changes}

    def test_in_a_table_have_flags_and_ranks_as_texts(self) -> None:
        header = "message_id,parent_id,role,text,rank,deleted\n"
        made = make(
            f"{header}a,,prompter,Hi,,False\nb,a,assistant,No,0.0,True\nc,a,assistant,Hello,1.0,False\n".encode(),
            filename="a.csv",
        )
        assert made.rows == [HELLO]

    @pytest.mark.parametrize(
        ("row", "message"),
        [
            (post("x", "gone", "assistant"), "line 8: the message to which it replies is not in the file"),
            (post("a", None, "prompter"), "line 8: another row has the message_id a"),
            ({"message_id": 4, "text": "Hi"}, "line 8: it is no message"),
        ],
    )
    def test_that_belong_nowhere_are_named_or_dropped(self, row: dict[str, Any], message: str) -> None:
        with pytest.raises(PreparationRefused) as refused:
            make(jsonl(*TREE, row))
        assert message in refused.value.message
        made = make(jsonl(*TREE, row), fixes=UNREADABLE)
        assert made.result.rows_dropped == {"convert_shape": 3, "drop_unreadable": 1}
        assert made.result.rows_in == 8 == made.result.rows_out + made.result.rows_joined + 4

    def test_are_bounded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(oasst, "MAX_MESSAGES", 6)
        with pytest.raises(PreparationRefused, match="over 6 messages of trees"):
            make(jsonl(*TREE))


class TestMultipleChoice:
    @pytest.mark.parametrize(
        ("answers", "shape", "first"),
        [
            ([1, 0], "multiple_choice_from_0", "B. y"),
            ([1, 3], "multiple_choice_from_1", "A. x"),
            (["1", "2", "0"], "multiple_choice_from_0", "B. y"),
            (["B", "A"], "multiple_choice", "B. y"),
            (["y", "x"], "multiple_choice", "B. y"),
        ],
    )
    def test_counts_answers_as_the_file_does(self, answers: list[Any], shape: str, first: str) -> None:
        made = make(jsonl(*[self.row(answer) for answer in answers]))
        assert made.result.input is not None
        assert made.result.input.shape == shape
        assert made.rows[0]["messages"][-1]["content"] == first

    @pytest.mark.parametrize("answers", [[1, 2], [0, 3]])
    def test_stops_where_numbers_are_not_clear(self, answers: list[int]) -> None:
        data = jsonl(*[self.row(answer) for answer in answers])
        with pytest.raises(PreparationRefused, match="set the option `shape` to multiple_choice_from_0 or") as refused:
            make(data)
        assert refused.value.param == "shape"
        if 0 not in answers:
            made = make(data, shape="multiple_choice_from_1")
            assert [row["messages"][-1]["content"] for row in made.rows] == ["A. x", "B. y"]

    def test_names_the_row_whose_answer_is_no_choice(self) -> None:
        with pytest.raises(PreparationRefused, match="line 2: the answer 3 is none of 3 choices counted from 0"):
            make(jsonl(self.row(0), self.row(3)), shape="multiple_choice_from_0")

    def row(self, answer: Any) -> dict[str, Any]:
        return {"question": f"Q {answer}?", "choices": ["x", "y", "z"], "answer": answer}


class TestOptions:
    @pytest.mark.parametrize("filename", ["a.jsonl", "a.csv"])
    def test_a_system_prompt_begins_the_input_of_a_preference(self, filename: str) -> None:
        data = b"prompt,chosen,rejected\nHi,Good.,Bad.\n"
        if filename == "a.jsonl":
            data = jsonl({"prompt": "Hi", "chosen": "Good.", "rejected": "Bad."})
        made = make(data, filename=filename, system_prompt="Be brief.")
        assert made.rows == [pair(("system", "Be brief."), ("user", "Hi"))]
        assert made.result.changes["system_prompt"] == 1
        assert make(made.training, system_prompt="Be long.").training == made.training

    def test_columns_replace_a_shape(self) -> None:
        data = jsonl({"instruction": "Hi", "output": "Hello", "history": [["a", "b"]]})
        made = make(data, template="{instruction}")
        assert made.rows == [HELLO]
        assert made.result.input is not None
        assert made.result.input.unused == {"history": 1}

    def test_a_file_mixes_shapes_of_one_format(self) -> None:
        made = make(
            jsonl(
                {"instruction": "Hi", "output": "Hello"},
                {"conversations": [{"from": "human", "value": "Hi."}, {"from": "gpt", "value": "Hello"}]},
                {"instruction": "Hi!", "output": "Hello"},
                {"messages": [{"role": "user", "content": "Hi?"}, {"role": "assistant", "content": "Hello"}]},
            )
        )
        assert [row["messages"][0]["content"] for row in made.rows] == ["Hi", "Hi.", "Hi!", "Hi?"]

    def test_a_row_without_text_is_dropped_like_an_empty_cell(self) -> None:
        data = jsonl({"instruction": "Hi", "output": "Hello"}, {"instruction": "Hi", "output": " "})
        assert make(data).result.rows_dropped == {"drop_empty_messages": 1}
        with pytest.raises(PreparationRefused, match="line 2: `output` is empty"):
            make(data, fixes=())

    def test_texts_stay_lines_of_a_text_file(self) -> None:
        made = make(b"<|im_start|>user\nHi<|im_end|>\n", filename="a.txt", fixes=())
        assert made.result.input is not None
        assert made.result.input.shape is None

    def test_preparing_again_changes_nothing(self) -> None:
        made = make(jsonl({"prompt": "Hi", "chosen": "Good.", "rejected": "Bad."}), fixes=ALL)
        assert make(made.training, fixes=ALL).training == made.training


class TestListsInTexts:
    def test_of_many_levels_stay_texts(self) -> None:
        deep = "[" * 101 + "]" * 101
        assert parsed(deep) == deep
        assert parsed("[" * 100 + "]" * 100) != "[" * 100 + "]" * 100
        made = make(jsonl({"instruction": "Hi", "output": "[" * 900 + "]" * 900}))
        assert made.rows[0]["messages"][-1]["content"] == "[" * 900 + "]" * 900

    def test_of_python_are_read_up_to_a_length(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert parsed("[{'a': None}]") == [{"a": None}]
        monkeypatch.setattr(json_texts, "MAX_PYTHON_CHARS", 5)
        assert parsed("[{'a': None}]") == "[{'a': None}]"

    @pytest.mark.parametrize("text", ["[x]", "{1, 2}", "[b'a']", "['a', 1e999]", "[open('a')]", "['a'"])
    def test_of_other_notations_stay_texts(self, text: str) -> None:
        assert parsed(text) == text


class TestUnused:
    @pytest.mark.parametrize(
        ("shape", "row", "example", "unused"),
        [
            ("alpaca", {"output": "Hello", "score": 4}, {"a": "Hello 4"}, set()),
            ("alpaca", {"output": "Hello", "score": 4}, {"a": "Hello 14"}, {"/score"}),
            ("alpaca", {"output": "Hello", "flag": True}, {"a": "Hello", "b": 1}, {"/flag"}),
            ("alpaca", {"output": "a"}, {"a": "cat"}, {"/output"}),
            ("alpaca", {"output": "Two\n  lines"}, {"a": "Two lines"}, set()),
            ("alpaca", {"output": '{"a": "é"}'}, {"a": json.dumps({"a": "é"})}, set()),
            ("alpaca", {"text": "### Instruction:\nHi\n\n### Response:\nHello"}, HELLO, set()),
            ("alpaca", {"text": "### Instruction:\nHi\n\n### Response:\nHello you"}, HELLO, {"/text"}),
            ("alpaca", {"text": "### Response:"}, HELLO, {"/text"}),
            ("sharegpt", {"conversations": [{"from": "human", "extra": ["x"]}]}, HELLO, {"/conversations/*/extra/*"}),
        ],
    )  # fmt: skip
    def test_finds_what_is_in_no_example(
        self, shape: str, row: dict[str, Any], example: dict[str, Any], unused: set[str]
    ) -> None:
        found = Unused()
        found.add_lost(row, [example], SHAPES[shape])
        assert set(found.counts) == unused
