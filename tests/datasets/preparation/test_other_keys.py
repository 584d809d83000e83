"""Keys that the format does not have: moved to their place, removed where they carry nothing, or refused by name."""

from __future__ import annotations

from typing import Any

import pytest

from service.datasets.preparation.refusals import PreparationRefused
from tests.datasets.preparation.sources import SAFE, make
from tests.datasets.rows import asked, chat, completion, jsonl, message, pair, report_on, tool

URL = "https://example.com/a.png"
PART = {"type": "image_url", "image_url": {"url": URL}}
QUESTION, ANSWER = message("user", "Why?"), message("assistant", "Because.")


def prepared(row: dict[str, Any], *fixes: str) -> dict[str, Any]:
    made = make(jsonl(row), fixes=[*SAFE, *fixes], shape="none")
    assert report_on(made.training).errors == 0
    (only,) = made.rows
    assert isinstance(only, dict)
    return only


def refusal(row: dict[str, Any]) -> str:
    with pytest.raises(PreparationRefused) as refused:
        make(jsonl(row), shape="none")
    return refused.value.message


class TestSystemPrompts:
    @pytest.mark.parametrize(
        "given",
        ["Be brief.", ["Be brief."], [{"type": "text", "text": "Be brief."}], {"parts": [{"text": "Be brief."}]}],
    )
    @pytest.mark.parametrize("key", ["system", "system_prompt", "systemInstruction"])
    def test_become_the_first_message(self, key: str, given: Any) -> None:
        assert prepared(asked(**{key: given})) == chat(message("system", "Be brief."), QUESTION, ANSWER)

    def test_the_diff_says_where_they_went(self) -> None:
        (change,) = make(jsonl(asked(system="Be brief.")), shape="none").changes
        assert (change["fix"], change["action"]) == ("move_known_keys", "changed")
        assert change["reason"] == "'system' becomes the first system message."

    def test_several_texts_are_joined(self) -> None:
        assert prepared(asked(system=["Be brief.", {"text": "Be kind."}]))["messages"][0] == message(
            "system", "Be brief.\n\nBe kind."
        )

    def test_beside_the_same_message_nothing_is_added(self) -> None:
        row = chat(message("system", "Be brief."), QUESTION, ANSWER)
        assert prepared({**row, "system": "Be brief. "}) == row

    def test_beside_another_message_they_are_refused(self) -> None:
        message_text = refusal({**chat(message("system", "Be brief."), QUESTION, ANSWER), "system": "Be verbose."})
        assert "line 1: A chat row has no key 'system'" in message_text
        assert "another system message" in message_text
        assert "Be verbose." in message_text

    def test_preference_rows_too(self) -> None:
        row = prepared(pair(system="Be brief."))
        assert row["input"]["messages"][0] == message("system", "Be brief.")


class TestWeights:
    @pytest.mark.parametrize(
        ("given", "weight"),
        [
            ({"train": False}, 0),
            ({"train": True}, 1),
            ({"trainOnTurn": "false"}, 0),
            ({"loss_mask": 0}, 0),
            ({"mask": True}, 0),
            ({"masked": False}, 1),
            ({"weight": "0"}, 0),
            ({"weight": True}, 1),
            ({"weight": 0, "train": False}, 0),
        ],
    )
    def test_become_numbers(self, given: dict[str, Any], weight: int) -> None:
        other = message("assistant", "Yes.", weight=1)
        row = chat(QUESTION, {**ANSWER, **given}, QUESTION, other)
        assert prepared(row)["messages"][1] == {**ANSWER, "weight": weight}

    def test_of_messages_that_are_never_trained_go_if_they_say_so(self) -> None:
        assert prepared(chat({**QUESTION, "train": False}, ANSWER)) == chat(QUESTION, ANSWER)
        assert prepared(chat({**QUESTION, "weight": 0}, ANSWER)) == chat(QUESTION, ANSWER)
        assert "only those of the assistant" in refusal(chat({**QUESTION, "train": True}, ANSWER))

    def test_that_contradict_each_other_are_refused(self) -> None:
        assert "both that it is trained" in refusal(chat(QUESTION, {**ANSWER, "train": True, "mask": True}))

    def test_of_a_row_drop_it_with_the_reason(self) -> None:
        made = make(jsonl(asked(), asked("How?", train=False), asked("When?", train=True)))
        assert [question for question, _ in made.pairs] == ["Why?", "When?"]
        assert made.result.drop_reasons == {"`train` says that the row is not trained.": 1}


class TestImages:
    def test_stand_in_the_places_of_the_text(self) -> None:
        row = chat(message("user", "<image>\nIs <image_2> the same?"), ANSWER, images=[URL, {"url": URL}])
        assert prepared(row)["messages"][0]["content"] == [
            PART,
            {"type": "text", "text": "Is"},
            PART,
            {"type": "text", "text": "the same?"},
        ]

    @pytest.mark.parametrize("given", [{"images": [URL]}, {"image": URL}, {"image_url": {"url": URL}}])
    def test_without_a_place_come_before_the_text(self, given: dict[str, Any]) -> None:
        expected = [PART, {"type": "text", "text": "Why?"}]
        assert prepared(asked(**given))["messages"][0]["content"] == expected
        assert prepared(chat({**QUESTION, **given}, ANSWER))["messages"][0]["content"] == expected

    def test_as_base64_become_data_urls(self) -> None:
        image = (
            "iVBORw0KGgowMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDBJRU5ErkJggg=="
        )
        (part, _) = prepared(asked(images=[image]))["messages"][0]["content"]
        assert part["image_url"]["url"] == f"data:image/png;base64,{image}"

    @pytest.mark.parametrize(
        ("row", "reason"),
        [
            (asked(images=["photos/a.png"]), "it names no URL"),
            (asked("<image> <image>", images=[URL]), "1 images and 2 places"),
            (chat(QUESTION, {**ANSWER, "images": [URL]}), "only user messages"),
        ],
    )
    def test_that_cannot_be_placed_are_refused(self, row: dict[str, Any], reason: str) -> None:
        assert reason in refusal(row)


class TestTurns:
    def test_history_comes_first(self) -> None:
        earlier = [message("user", "Hello."), message("assistant", "Good day.")]
        expected = chat(message("system", "Be brief."), *earlier, QUESTION, ANSWER)
        for history in ([["Hello.", "Good day."]], earlier):
            assert prepared(asked(history=history, system="Be brief.")) == expected
        assert prepared({**expected, "history": [["Hello.", "Good day."]]}) == expected
        assert "no list of [question, answer] pairs" in refusal(asked(history="We said hello."))

    def test_parts_of_messages_have_other_names(self) -> None:
        row = chat({"from": "human", "value": "Why?"}, {"author": {"role": "model"}, "parts": [{"text": "Because."}]})
        assert prepared(row) == asked()
        assert prepared(chat(message("Human", "Why?"), message("gpt", "Because."))) == asked()

    def test_calls_get_ids_that_their_results_repeat(self) -> None:
        row = chat(
            QUESTION,
            {"role": "assistant", "tool_call": {"name": "weather", "arguments": {"city": "Rome"}}},
            {"role": "tool", "content": "20 degrees"},
            ANSWER,
            tools=[tool()],
        )
        made = prepared(row)["messages"]
        assert made[1]["tool_calls"][0]["function"] == {"name": "weather", "arguments": '{"city": "Rome"}'}
        assert made[2] == {"role": "tool", "content": "20 degrees", "tool_call_id": made[1]["tool_calls"][0]["id"]}

    def test_definitions_in_a_message_or_a_text_become_the_rows(self) -> None:
        definition = tool()["function"]
        row = chat({**message("system", "Be brief."), "tools": [definition]}, QUESTION, ANSWER)
        expected = chat(message("system", "Be brief."), QUESTION, ANSWER, tools=[tool()])
        assert prepared(row) == expected
        text = jsonl(definition).decode().strip()
        assert prepared({**expected, "tools": f"[{text}]"}) == expected


class TestReasoning:
    def test_is_refused_with_its_choices(self) -> None:
        text = refusal(chat(QUESTION, {**ANSWER, "reasoning_content": "They want a reason."}))
        assert "inline_reasoning" in text
        assert "drop_unknown_keys" in text
        assert "They want a reason." in text

    def test_comes_before_the_content_if_chosen(self) -> None:
        row = chat(QUESTION, {**ANSWER, "reasoning": "They want a reason."})
        expected = "<think>\nThey want a reason.\n</think>\n\nBecause."
        assert prepared(row, "inline_reasoning") == chat(QUESTION, message("assistant", expected))

    def test_goes_if_chosen_and_is_counted(self) -> None:
        made = make(jsonl(chat(QUESTION, {**ANSWER, "thinking": "Hm."})), fixes=[*SAFE, "drop_unknown_keys"])
        assert made.rows == [asked()]
        assert made.result.input is not None
        assert made.result.input.unused == {"/messages/*/thinking": 1}
        assert any("`/messages/*/thinking`" in note for note in made.result.notes)


class TestOtherKeys:
    @pytest.mark.parametrize(
        "more",
        [
            {"id": 7},
            {"source": "wiki", "lang": "en", "split": "train", "score": 0.5},
            {"created_at": "2024-01-31T10:00:00Z", "ref": "a81f3c2d99aa"},
            {"metadata": {"page": 3, "title": "A page"}},
            {"prompt": "Why?"},
            {"anything": 12, "some": True, "nothing": None},
        ],
    )
    def test_that_carry_nothing_go_and_are_counted(self, more: dict[str, Any]) -> None:
        for row in (asked(), pair()):
            made = make(jsonl({**row, **more}))
            assert made.rows == [row]
            assert made.result.input is not None
            assert set(made.result.input.unused) == {f"/{key}" for key, value in more.items() if value is not None}

    @pytest.mark.parametrize(
        "more",
        [
            {"context": "Rome is warm."},
            {"source": "A page.\nIt has several lines."},
            {"metadata": {"system": "Be brief."}},
            {"label": False},
            {"notes": ["Rome is warm."]},
            {"documents": [{"text": "Rome is warm."}]},
        ],
    )
    def test_with_text_are_refused_by_name(self, more: dict[str, Any]) -> None:
        (key,) = more
        for row in (
            {**asked(), **more},
            {**pair(), **more},
            {**completion(), **more},
            chat({**QUESTION, **more}, ANSWER),
        ):
            text = refusal(row)
            assert text.startswith("line 1: ")
            assert repr(key) in text
            assert ("drop_extra_columns" if "completion" in row else "drop_unknown_keys") in text

    def test_with_text_go_if_that_is_chosen_and_the_movable_ones_stay(self) -> None:
        made = make(jsonl(asked(context="Rome is warm.", system="Be brief.")), fixes=["drop_unknown_keys"])
        assert made.rows == [asked(system="Be brief.")]
        assert made.result.input is not None
        assert made.result.input.unused == {"/context": 1}
        rows = [completion(context="Rome is warm."), completion("b ->", " c")]
        made = make(jsonl(*rows), fixes=[*SAFE, "drop_extra_columns"])
        assert [set(row) for row in made.rows] == [{"prompt", "completion"}] * 2

    def test_without_fixes_nothing_goes(self) -> None:
        row = asked(context="Rome is warm.", system="Be brief.", id=7)
        assert make(jsonl(row), fixes=()).rows == [row]
