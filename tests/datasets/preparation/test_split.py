"""Splits: sizes that are right, seeds that reproduce, labels in proportion, nothing on both sides."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.datasets.leakage.find import find_leakage
from service.datasets.preparation.options import Split
from service.datasets.preparation.refusals import PreparationRefused
from tests.datasets.preparation.sources import Made, make
from tests.datasets.rows import asked, completion, jsonl, pair


def split(rows: list[Any], **options: Any) -> Made:
    return make(jsonl(*rows), fixes=(), split=Split(**options))


def distinct(count: int) -> list[Any]:
    return [asked(f"Question number {index}?", f"Answer number {index}.") for index in range(count)]


class TestSizes:
    @pytest.mark.parametrize(
        ("rows", "options", "held"),
        [
            (100, {"validation_share": 0.1}, 10),
            (15, {"validation_share": 0.1}, 2),
            (3, {"validation_share": 0.01}, 1),
            (100, {"validation_examples": 7}, 7),
            (2, {"validation_examples": 1}, 1),
        ],
    )
    def test_are_as_asked_for(self, rows: int, options: dict[str, Any], held: int) -> None:
        made = split(distinct(rows), **options)
        assert (len(made.rows), len(made.validation_rows)) == (rows - held, held)
        assert (made.result.rows_out, made.result.validation_rows, made.result.notes) == (rows, held, [])

    @pytest.mark.parametrize("options", [{"validation_examples": 3}, {"validation_share": 0.99}])
    def test_something_is_left_to_train_on(self, options: dict[str, Any]) -> None:
        with pytest.raises(PreparationRefused) as refused:
            split(distinct(3), **options)
        assert refused.value.code == "split_too_large"

    def test_order_is_kept_on_both_sides_and_nothing_is_lost(self) -> None:
        rows = distinct(50)
        made = split(rows, validation_share=0.3, seed=4)
        assert [row for row in rows if row in made.rows] == made.rows
        assert [row for row in rows if row not in made.rows] == made.validation_rows


class TestSeed:
    def test_the_same_gives_the_same_and_another_another(self) -> None:
        rows = distinct(200)
        one, again, other = (split(rows, validation_share=0.2, seed=seed) for seed in (7, 7, 8))
        assert one.validation == again.validation
        assert one.validation != other.validation

    def test_rows_that_are_added_move_few_others(self) -> None:
        rows = distinct(200)
        before = split(rows, validation_examples=20, seed=1).validation_rows
        after = split([*distinct(210)[200:], *rows], validation_examples=21, seed=1).validation_rows
        assert len([row for row in before if row in after]) >= 17


class TestLabels:
    def test_are_held_back_in_proportion(self) -> None:
        labels = ["yes"] * 60 + ["no"] * 30 + ["maybe"] * 10
        rows = [asked(f"Text {index}", label) for index, label in enumerate(labels)]
        made = split(rows, validation_share=0.2, seed=3)
        held = Counter(row["messages"][1]["content"] for row in made.validation_rows)
        assert held == {"yes": 12, "no": 6, "maybe": 2}

    def test_a_label_of_one_row_is_trained(self) -> None:
        rows = [completion(f"Text {index} ->", " yes" if index else " no") for index in range(40)]
        for seed in range(10):
            made = split(rows, validation_share=0.5, seed=seed)
            assert rows[0] in made.rows
            assert len(made.validation_rows) == 20


class TestSameExamples:
    def test_variants_of_one_stay_together(self) -> None:
        same = [asked("Why is it so?"), asked("why  is it SO?"), asked("Ｗhy is it so?\n")]
        for seed in range(10):
            made = split([*distinct(9), *same], validation_share=0.25, seed=seed)
            sides = [row in made.validation_rows for row in same]
            assert len(set(sides)) == 1
            assert len(made.validation_rows) == 3

    def test_so_do_rows_with_the_same_prompt(self) -> None:
        rows = distinct(20) + [asked("Question number 3?", f"Another answer {index}") for index in range(3)]
        for seed in range(10):
            made = split(rows, validation_share=0.3, seed=seed)
            leaked = find_leakage([made.training], [made.validation], validation_file="")
            assert (leaked.exact, leaked.same_prompt) == (0, 0)

    def test_prompts_that_are_nearly_all_the_same_do_not_prevent_a_split(self) -> None:
        rows = [pair(f"Better {index}.", f"Worse {index}.") for index in range(20)]
        assert len(split(rows, validation_examples=5).validation_rows) == 5

    def test_a_size_that_cannot_be_met_is_said(self) -> None:
        rows = [asked("A?", "a"), asked("a?", "a"), asked("A? ", "A"), asked("B?", "b"), asked("b?", "B")]
        made = split(rows, validation_examples=1)
        assert made.validation_rows == []
        assert "stay together" in made.result.notes[0]


class TestNearDuplicates:
    QUESTION = "How do I renew the licence for a fishing boat of under nine metres in harbour number {}?"
    ANSWER = "Take form {} to the counter on the ground floor with your passport, and pay the fee in cash there."

    def near(self, groups: int) -> list[Any]:
        words = ["amber", "birch", "cedar", "delta", "ember", "fjord", "grove", "heron", "inlet", "jetty"]
        texts = [" ".join(f"{word}{group}{end}" for end in "xyzuv" for word in words) for group in range(groups)]
        return [asked(f"{each} {text}", "So.") for text in texts for each in "ab"]

    def test_stay_on_one_side(self) -> None:
        rows = distinct(40) + self.near(10)
        for seed in range(10):
            made = split(rows, validation_share=0.3, seed=seed)
            leaked = find_leakage([made.training], [made.validation], validation_file="")
            assert (leaked.exact, leaked.same_prompt, leaked.near) == (0, 0, 0)
            assert len(made.validation_rows) == 18
        assert any("20 examples in 10 groups" in note for note in made.result.notes)

    def test_that_are_the_whole_file_do_not_prevent_a_split(self) -> None:
        rows = [asked(self.QUESTION.format(index), self.ANSWER.format("F")) for index in range(40)]
        made = split(rows, validation_examples=5)
        assert len(made.validation_rows) == 5
        assert "Near duplicates may be on both sides" in made.result.notes[0]

    def test_the_same_in_another_order_gives_the_same_sides(self) -> None:
        rows = distinct(30) + self.near(8)
        one, other = (split(order, validation_share=0.2, seed=3) for order in (rows, rows[::-1]))
        assert sorted(map(str, one.validation_rows)) == sorted(map(str, other.validation_rows))


ROWS = st.lists(
    st.tuples(st.sampled_from(["A?", "a?", " A? ", "B?", "C?", "D?", "E?", "F?"]), st.sampled_from(["x", "X", "y"])),
    min_size=2,
    max_size=30,
)


@given(rows=ROWS, share=st.floats(0.01, 0.9), seed=st.integers(0, 2**31 - 1))
def test_no_example_is_on_both_sides_and_sizes_are_right(rows: list[tuple[str, str]], share: float, seed: int) -> None:
    try:
        made = split([asked(*row) for row in rows], validation_share=share, seed=seed)
    except PreparationRefused as error:
        assert error.code == "split_too_large"
        return
    training, validation = ([_normal(row) for row in side] for side in (made.rows, made.validation_rows))
    assert set(training) & set(validation) == set()
    assert Counter(training) + Counter(validation) == Counter(_normal(asked(*row)) for row in rows)
    wanted = max(1, int(share * len(rows) + 0.5))
    assert len(validation) <= wanted < len(rows)
    groups = Counter(training)
    if len({question for question, _ in map(_pair, rows)}) * 2 < len(set(map(_pair, rows))):
        assert len(validation) + min(groups.values()) > wanted


def _pair(row: tuple[str, str]) -> tuple[str, str]:
    return row[0].strip().casefold(), row[1].casefold()


def _normal(row: dict[str, Any]) -> tuple[str, str]:
    return _pair((row["messages"][0]["content"], row["messages"][1]["content"]))
