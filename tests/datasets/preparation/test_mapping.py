"""Columns by their names, templates that are no code, and options that make no sense."""

from __future__ import annotations

import pytest

from service.datasets.preparation.mapping import Template, guess_columns
from service.datasets.preparation.options import Columns, Split, check_split, chosen_fixes
from service.datasets.preparation.refusals import PreparationRefused
from tests.datasets.preparation.sources import make


class TestGuess:
    @pytest.mark.parametrize(
        ("names", "prompt", "answer", "system"),
        [
            (["Question", "Answer"], "Question", "Answer", None),
            (["id", "USER ", "assistant_", "System Prompt"], "USER ", "assistant_", "System Prompt"),
            (["text", "label", "prompt"], "prompt", "label", None),
            (["input", "output"], "input", "output", None),
            (["问题", "回答"], "问题", "回答", None),
            (["completion", "prompt", "answer"], "prompt", "completion", None),
        ],
    )
    def test_by_common_names(self, names: list[str], prompt: str, answer: str, system: str | None) -> None:
        found, guessed = guess_columns(names, Columns(), None)
        assert (found.prompt, found.answer, found.system) == (prompt, answer, system)
        assert guessed == ["prompt", "answer"] + (["system"] if system else [])

    def test_what_is_given_wins_and_is_not_called_guessed(self) -> None:
        found, guessed = guess_columns(["question", "answer", "reply"], Columns(answer="reply"), None)
        assert (found.prompt, found.answer) == ("question", "reply")
        assert guessed == ["prompt"]

    @pytest.mark.parametrize(
        ("given", "param"), [(Columns(prompt="quest"), "columns.prompt"), (Columns(system="x"), "columns.system")]
    )
    def test_a_column_that_is_not_there_is_refused(self, given: Columns, param: str) -> None:
        with pytest.raises(PreparationRefused) as refused:
            guess_columns(["question", "answer"], given, None)
        assert (refused.value.code, refused.value.param) == ("unknown_column", param)
        assert "`question`, `answer`" in refused.value.message

    def test_a_column_of_the_template_is_nothing_else(self) -> None:
        found, _ = guess_columns(["answer", "label"], Columns(), Template("{answer}"))
        assert (found.prompt, found.answer) == (None, "label")

    def test_an_instruction_with_an_input_gets_both(self) -> None:
        made = make(b"instruction,input,output\nAdd them.,1 and 2,3\nSay hi.,,Hi!\n", filename="alpaca.csv", fixes=())
        assert made.pairs == [("Add them.\n\n1 and 2", "3"), ("Say hi.", "Hi!")]
        assert made.result.options.prompt_template == "{instruction}\n\n{input}"
        assert "prompt_template" in made.result.options.guessed_columns


class TestTemplate:
    @pytest.mark.parametrize(
        ("template", "filled"),
        [
            ("{a}: {b}", "1: {x}"),
            ("{{{a}}} {{b}}", "{1} {b}"),
            ("{a.b} {c!r} {d:>9} {0}", "dot bang colon zero"),
            ("nothing", "nothing"),
            ("{missing}", ""),
        ],
    )
    def test_places_columns_and_nothing_else(self, template: str, filled: str) -> None:
        row = {"a": "1", "b": "{x}", "a.b": "dot", "c!r": "bang", "d:>9": "colon", "0": "zero"}
        assert Template(template).filled(row) == filled

    @pytest.mark.parametrize("template", ["{a.__class__}", "{a[0]}", "{}", "{a!r}", "{a:x}"])
    def test_looks_at_no_attribute(self, template: str) -> None:
        with pytest.raises(PreparationRefused) as refused:
            make(b"a,answer\n1,2\n", filename="a.csv", template=template)
        assert refused.value.code == "unknown_column"

    @pytest.mark.parametrize("template", ["{", "}", "{a}}", "a {b"])
    def test_a_lone_brace_is_refused_with_its_place(self, template: str) -> None:
        with pytest.raises(PreparationRefused, match="lone") as refused:
            Template(template)
        assert refused.value.param == "prompt_template"


class TestSystemPrompt:
    def test_a_column_wins_where_it_says_something(self) -> None:
        made = make(
            b"question,answer,system\na,b,Be long.\nc,d,\n", filename="a.csv", system_prompt="Be brief.", fixes=()
        )
        assert [row["messages"][0]["content"] for row in made.rows] == ["Be long.", "Be brief."]

    def test_chat_rows_get_it_unless_they_have_one(self) -> None:
        rows = b'{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"}]}\n'
        rows += b'{"messages":[{"role":"developer","content":"x"},{"role":"assistant","content":"b"}]}\n'
        made = make(rows, system_prompt="Be brief.", fixes=())
        assert [row["messages"][0]["content"] for row in made.rows] == ["Be brief.", "x"]

    @pytest.mark.parametrize("data", [b"prompt,completion\na,b\n", b'{"prompt":"a","completion":"b"}\n'])
    def test_completions_have_no_place_for_it(self, data: bytes) -> None:
        with pytest.raises(PreparationRefused) as refused:
            make(data, target="completion", system_prompt="Be brief.")
        assert refused.value.param == "system_prompt"


class TestOptions:
    def test_fixes_by_name_keep_the_order_in_which_they_are_listed(self) -> None:
        assert chosen_fixes(["mask_secrets", "strip_bom"]) == ("strip_bom", "mask_secrets")
        assert chosen_fixes("none") == ()
        assert "drop_duplicates" in chosen_fixes("safe")
        assert "strip_filler_openings" not in chosen_fixes("safe")

    def test_an_unknown_fix_is_refused_with_the_list(self) -> None:
        with pytest.raises(PreparationRefused, match="strip_bom") as refused:
            chosen_fixes(["strip_boom"])
        assert (refused.value.code, refused.value.param) == ("unknown_fix", "fixes")

    @pytest.mark.parametrize(
        "split",
        [
            Split(),
            Split(validation_share=0.1, validation_examples=3),
            Split(validation_share=0.0),
            Split(validation_share=1.0),
            Split(validation_examples=0),
        ],
    )
    def test_a_split_says_how_much_once(self, split: Split) -> None:
        with pytest.raises(PreparationRefused):
            check_split(split)
