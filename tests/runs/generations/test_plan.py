"""A generation's plan: the same examples whatever order the answers come in and wherever it is interrupted."""

import random
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.runs.generations.options import (
    MAX_ANSWER_ATTEMPTS,
    MAX_QUESTION_ATTEMPTS,
    GenerationOutcome,
    GenerationPlanOptions,
    Step,
)
from service.runs.generations.plan import GenerationPlan
from service.runs.generations.prompts import PREVIOUS_QUESTIONS
from service.runs.plan import Answer, Call, unanswered
from tests.runs.scripted import words

Reply = Callable[[Call], Answer]
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather at a place.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 1}},
            "required": ["city"],
        },
    },
}
LEAVE = {"type": "function", "function": {"name": "leave_letter", "parameters": {"type": "object", "properties": {}}}}


def options(**more: Any) -> GenerationPlanOptions:
    """Six examples of two topics."""
    step = Step(model="gpt-4o-mini", prompt=None, temperature=None, max_tokens=100, larger_max_tokens=400)
    given = {
        "topics": ["rivers", "lakes"],
        "n_per_topic": 3,
        "question": step,
        "answer": step,
        "system_prompt": None,
        "tools": None,
        "seed": 0,
        "filename": "generated.jsonl",
    }
    return GenerationPlanOptions(**{**given, **more})


def text(said: str, finish_reason: str = "stop") -> Answer:
    """An answer in words."""
    return Answer(message={"role": "assistant", "content": said}, finish_reason=finish_reason)


def calling(name: str, arguments: str) -> Answer:
    """An answer that is a call."""
    call = {"id": "call_x", "type": "function", "function": {"name": name, "arguments": arguments}}
    return Answer(message={"role": "assistant", "tool_calls": [call]}, finish_reason="tool_calls")


def good(call: Call) -> Answer:
    """As it should be."""
    return text(f"{words(call.key)}?" if call.key.startswith("question") else f"It is {words(call.key)}.")


def made(wanted: GenerationPlanOptions, reply: Reply) -> tuple[GenerationPlan, dict[str, Call]]:
    """The plan at its end, and what it asked."""
    plan, asked = GenerationPlan(wanted), {}
    while (call := plan.next_call()) is not None:
        assert call.key not in asked, f"{call.key} is asked twice"
        asked[call.key] = call
        plan.take(call.key, reply(call))
    return plan, asked


def result_of(plan: GenerationPlan) -> tuple[list[Any], GenerationOutcome]:
    """What there is to compare."""
    return list(plan.rows()), plan.outcome()


def said_at(seed: int) -> Reply:
    """Answers of every kind, decided by the key and the body alone, as those of an upstream that honours seeds."""

    def reply(call: Call) -> Answer:
        dice = random.Random(f"{seed}/{call.key}/{msgspec.json.encode(call.body)!r}")
        match dice.randrange(8):
            case 0:
                return text(f"{words(str(dice.randrange(2)))}?")
            case 1:
                return text("It stops in the mid", "length")
            case 2:
                return Answer(refusal="No.")
            case 3:
                return text("Sure!")
            case 4:
                return text(f"好的！{words(call.key)}")
            case _:
                return good(call)

    return reply


@given(seed=st.integers(0, 10_000), order=st.randoms(use_true_random=False), calls=st.booleans())
def test_any_order_and_any_interruption_give_the_same(seed: int, order: random.Random, calls: bool) -> None:
    """Answers come in any order, and now and then a new plan goes on from what is answered."""
    wanted = options(tools=[WEATHER] if calls else None, seed=seed)

    def reply(call: Call) -> Answer:
        if calls and call.key.startswith("answer"):
            said = random.Random(f"{seed}/{call.key}").choice(['{"city": "Ulm"}', "{", '{"city": 1}', '{"days": 2}'])
            return calling("get_weather", said)
        return said_at(seed)(call)

    expected = result_of(made(wanted, reply)[0])
    answers: dict[str, Answer] = {}
    plan, under_way = GenerationPlan(wanted), []
    while True:
        under_way += list(unanswered(plan, answers))
        if not under_way:
            break
        call = under_way.pop(order.randrange(len(under_way)))
        answers[call.key] = reply(call)
        if order.random() < 0.2:
            plan, under_way = GenerationPlan(wanted), []
        else:
            plan.take(call.key, answers[call.key])
    assert result_of(plan) == expected
    examples, missing = expected[1].examples, expected[1].missing
    assert (examples + missing, sum(expected[1].dropped.values())) == (wanted.total, missing)


class TestQuestions:
    def test_topics_take_turns_and_each_call_has_another_seed_and_prompt(self) -> None:
        plan, asked = made(options(), good)
        questions = [call for key, call in asked.items() if key.startswith("question")]
        assert len(questions) == plan.done == 6
        assert len({call.body["seed"] for call in asked.values()}) == 12
        prompts = [call.body["messages"][-1]["content"] for call in questions]
        assert len(set(prompts)) == 6
        assert ["rivers" in prompt for prompt in prompts] == [True, False] * 3

    def test_a_near_duplicate_is_requested_again_with_the_existing_questions(self) -> None:
        duplicate = (
            "How long is the river that runs through the old town and past the new one, from its spring to its end?"
        )

        def reply(call: Call) -> Answer:
            step, item, attempt = call.key.split("/")
            if step == "question" and item in ("0", "2") and attempt == "try-1":
                return text(duplicate if item == "0" else duplicate.replace("long", "wide"))
            return good(call)

        plan, asked = made(options(), reply)
        assert (plan.done, plan.outcome().near_duplicates, plan.outcome().dropped) == (6, 1, {})
        again = asked["question/2/try-2"].body["messages"][-1]["content"]
        assert PREVIOUS_QUESTIONS.partition("{")[0] in again
        assert duplicate in again
        assert "question/0/try-2" not in asked

    def test_the_same_again_and_again_is_given_up(self) -> None:
        def reply(call: Call) -> Answer:
            return text("What is a river?") if call.key.startswith("question") else good(call)

        plan, asked = made(options(), reply)
        assert plan.done == 1
        assert plan.outcome().dropped == {"near_duplicate": 5}
        assert len([key for key in asked if key.startswith("question")]) == 1 + 5 * MAX_QUESTION_ATTEMPTS

    @pytest.mark.parametrize("said", ["", "   ", "Sure!", '""'])
    def test_one_that_is_none_is_asked_again(self, said: str) -> None:
        def reply(call: Call) -> Answer:
            return text(said) if call.key == "question/1/try-1" else good(call)

        plan, _ = made(options(), reply)
        assert (plan.done, plan.outcome().unusable_questions) == (6, 1)

    def test_what_stands_around_it_goes(self) -> None:
        def reply(call: Call) -> Answer:
            if call.key.startswith("question"):
                return text(f"Of course! “{words(call.key)}?”")
            return good(call)

        plan, _ = made(options(), reply)
        assert [row["messages"][0]["content"] for row in plan.rows()] == [
            f"{words(f'question/{item}/try-1')}?" for item in range(6)
        ]

    def test_a_prompt_of_one_s_own(self) -> None:
        step = Step(model="m", prompt="{number} of {n}: {topic}!", temperature=None, max_tokens=9, larger_max_tokens=9)
        _, asked = made(options(question=step), good)
        assert asked["question/3/try-1"].body["messages"][0]["content"] == "2 of 3: lakes!"
        plain = msgspec.structs.replace(step, prompt="Ask something.")
        _, asked = made(options(question=plain), good)
        assert asked["question/0/try-1"].body["messages"][0]["content"] == "Ask something.\n\nrivers"


class TestAnswers:
    def test_fillers_are_forbidden_found_and_removed(self) -> None:
        def reply(call: Call) -> Answer:
            opening = {"answer/0/try-1": "Sure! ", "answer/1/try-1": "好的，", "answer/2/try-1": "当然可以！"}
            return text(opening.get(call.key, "") + good(call).text)

        plan, asked = made(options(), reply)
        assert plan.outcome().fillers_removed == 3
        for item, row in enumerate(plan.rows()):
            assert row["messages"][-1]["content"] == f"It is {words(f'answer/{item}/try-1')}."
        system = asked["answer/0/try-1"].body["messages"][0]
        assert all(filler in system["content"] for filler in ("Sure!", "Of course!", "好的", "没问题", "当然可以！"))

    def test_nothing_but_filler_is_asked_again(self) -> None:
        def reply(call: Call) -> Answer:
            return text("Sure! Of course!") if call.key == "answer/0/try-1" else good(call)

        plan, _ = made(options(), reply)
        assert (plan.done, plan.outcome().empty_answers) == (6, 1)

    def test_one_that_was_cut_is_asked_once_more_with_a_larger_limit(self) -> None:
        def reply(call: Call) -> Answer:
            if call.key == "answer/1/try-1" or call.key.startswith("answer/2"):
                return text("It is as long as", "length")
            return good(call)

        plan, asked = made(options(), reply)
        assert (plan.done, plan.outcome().cut, plan.outcome().dropped) == (5, 3, {"cut": 1})
        limits = [asked[f"answer/2/try-{attempt}"].body["max_completion_tokens"] for attempt in (1, 2)]
        assert limits == [100, 400]
        assert "answer/2/try-3" not in asked

    def test_one_that_the_upstream_refuses_is_left_out(self) -> None:
        def reply(call: Call) -> Answer:
            return Answer(refusal="Against the rules.") if call.key.startswith("answer/4") else good(call)

        plan, asked = made(options(), reply)
        assert plan.outcome().dropped == {"refused": 1}
        assert "answer/4/try-2" not in asked

    def test_the_examples_carry_the_system_prompt_and_not_the_instructions(self) -> None:
        plan, asked = made(options(system_prompt="You are sarcastic."), good)
        assert asked["answer/0/try-1"].body["messages"][0]["content"].startswith("You are sarcastic.\n\nBegin")
        for row in plan.rows():
            assert row["messages"][0] == {"role": "system", "content": "You are sarcastic."}


class TestCalls:
    def reply(self, call: Call) -> Answer:
        """Calls of the function that is asked for."""
        if call.key.startswith("question"):
            return good(call)
        name = call.body["tool_choice"]["function"]["name"]
        return calling(name, '{"city":"Ulm"}' if name == "get_weather" else "{}")

    def test_satisfy_the_schema_and_the_row_is_as_the_checks_want_it(self) -> None:
        plan, asked = made(options(tools=[WEATHER, LEAVE]), self.reply)
        assert plan.done == 6
        names = [row["messages"][-1]["tool_calls"][0]["function"]["name"] for row in plan.rows()]
        assert set(names) == {"get_weather", "leave_letter"}
        assert '"get_weather"' in asked["question/2/try-1"].body["messages"][0]["content"]
        for row in plan.rows():
            assert row["tools"] == [WEATHER, LEAVE]
            assert row["messages"][-1]["tool_calls"][0]["id"] == "call_1"

    @pytest.mark.parametrize(
        ("bad", "reported"),
        [
            (text("It rains."), "there was no call"),
            (calling("get_weather", "{"), "arguments"),
            (calling("get_weather", '{"days": 0}'), "get_weather"),
            (calling("get_news", "{}"), "get_news"),
            (calling("leave_letter", "{}"), "does not call get_weather"),
            (Answer(message={"role": "assistant", "tool_calls": [7]}), "object"),
            (Answer(message={"role": "assistant", "tool_calls": [{"function": None}]}), "function"),
        ],
    )
    def test_one_that_does_not_is_requested_again_with_the_reason(self, bad: Answer, reported: str) -> None:
        wanted = options(tools=[WEATHER, LEAVE])
        item = next(item for item in range(6) if (wanted.tool_of(item) or {})["name"] == "get_weather")

        def reply(call: Call) -> Answer:
            return bad if call.key == f"answer/{item}/try-1" else self.reply(call)

        plan, asked = made(wanted, reply)
        assert (plan.done, plan.outcome().invalid_calls) == (6, 1)
        assert reported in asked[f"answer/{item}/try-2"].body["messages"][0]["content"]

    def test_one_that_never_does_is_given_up(self) -> None:
        def reply(call: Call) -> Answer:
            return calling("get_weather", "{}") if call.key.startswith("answer/1/") else self.reply(call)

        plan, _ = made(options(tools=[WEATHER]), reply)
        assert (plan.outcome().invalid_calls, plan.outcome().dropped) == (MAX_ANSWER_ATTEMPTS, {"invalid_call": 1})
