"""The plan, pure: what is asked, that order and interruptions change nothing, and which examples are chosen."""

import random
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.runs.comparisons.cases import choose, read_cases
from service.runs.comparisons.graders.registry import AnyGrader
from service.runs.comparisons.grading import (
    ComparisonOutcome,
    GradedCase,
    answered_cases,
    case_scores,
    grade_case,
    spending,
    summarize,
)
from service.runs.comparisons.options import Compared, ComparisonPlanOptions, Format, Turn
from service.runs.comparisons.plan import ComparisonPlan
from service.runs.plan import Answer, Call, replay
from tests.datasets.rows import asked, call, calling, jsonl, message, tool
from tests.runs.comparisons.harness import capitals

JUDGE = {"type": "judge", "model": "gpt-4.1"}


def options(
    *, models: int = 2, graders: list[Any] | None = None, format: Format = "chat", turn: Turn = "last", **more: Any
) -> ComparisonPlanOptions:
    wanted = [{"type": "exact"}] if graders is None else graders
    chosen = msgspec.convert(wanted, list[AnyGrader])
    return ComparisonPlanOptions(
        models=[Compared(requested=f"m{number}", model=f"model-{number}") for number in range(models)],
        graders=chosen,
        judges={each["type"]: each["model"] for each in wanted if each["type"] == "judge"},
        format=format,
        turn=turn,
        **{
            "file_examples": 12,
            "examples": 12,
            "seed": 3,
            "temperature": 0.0,
            "max_tokens": 64,
            "stop": [],
            **more,
        },
    )


def plan_of(rows: list[Any], chosen: ComparisonPlanOptions) -> ComparisonPlan:
    places = choose(len(rows), chosen.examples, chosen.seed)
    return ComparisonPlan(
        chosen,
        list(read_cases([jsonl(*rows)], places, chosen.format, turn=chosen.turn, stop=chosen.stop)),
    )


def grade(plan: ComparisonPlan) -> tuple[ComparisonOutcome, list[GradedCase]]:
    """Grade the complete cases, as an evaluation process does."""
    graded = [grade_case(plan.graders, case, seconds=10) for case in answered_cases(plan)]
    scores = [case_scores(each) for each in graded]
    return summarize(plan.graders, scores, spending(plan), seed=plan.options.seed), graded


def answer_to(call: Call, seed: int = 0) -> Answer:
    """What an upstream would say, decided by the call alone."""
    chance = random.Random(f"{seed} {call.key}")
    if "judge" in call.key:
        return Answer(
            message={"content": f'{{"better": "{chance.choice(["first", "second", "tie"])}"}}'}, cost_micros=2
        )
    if chance.random() < 0.1:
        return Answer(refusal="No.")
    return Answer(
        message={"content": f"City {chance.randrange(4)}"}, finish_reason="stop", input_tokens=9, cost_micros=1
    )


def run_in_order(plan: ComparisonPlan, data: st.DataObject, *, at_once: int) -> None:
    """Answer what the plan wants with up to so many calls under way, in an order that Hypothesis chooses."""
    under_way: list[Call] = []
    while True:
        while len(under_way) < at_once and (call := plan.next_call()) is not None:
            under_way.append(call)
        if not under_way:
            return
        call = under_way.pop(data.draw(st.integers(0, len(under_way) - 1)))
        plan.take(call.key, answer_to(call))


class TestOrder:
    @settings(max_examples=40, deadline=None)
    @given(data=st.data())
    def test_the_same_answers_give_the_same_outcome_in_any_order(self, data: st.DataObject) -> None:
        wanted = options(models=3, graders=[{"type": "exact"}, JUDGE])
        rows = capitals(6)
        one = plan_of(rows, wanted)
        run_in_order(one, data, at_once=data.draw(st.integers(1, 9)))
        other = plan_of(rows, wanted)
        keys: list[str] = []
        while (call := other.next_call()) is not None:
            keys.append(call.key)
            other.take(call.key, answer_to(call))
        assert sorted(one.answers) == sorted(keys)
        assert len(set(keys)) == len(keys)
        assert all(key.isascii() for key in keys)
        assert one.done == one.total == other.done == 6
        assert grade(one) == grade(other)

    @settings(max_examples=40, deadline=None)
    @given(kept=st.sets(st.integers(0, 200)))
    def test_a_continuation_makes_only_the_missing_calls(self, kept: set[int]) -> None:
        wanted = options(models=2, graders=[JUDGE])
        whole = plan_of(capitals(6), wanted)
        while (call := whole.next_call()) is not None:
            whole.take(call.key, answer_to(call))
        known = {key: answer for at, (key, answer) in enumerate(sorted(whole.answers.items())) if at in kept}
        again = plan_of(capitals(6), wanted)
        asked_again: list[str] = []
        while not replay(again, known):
            fresh = plan_of(capitals(6), wanted)
            missing = _first_missing(fresh, known)
            asked_again.append(missing.key)
            known[missing.key] = answer_to(missing)
            again = plan_of(capitals(6), wanted)
        assert len(set(asked_again)) == len(asked_again)
        assert again.done == again.total
        assert grade(again) == grade(whole)

    def test_progress_never_runs_ahead(self) -> None:
        plan = plan_of(capitals(4), options(graders=[{"type": "exact"}, JUDGE]))
        seen = 0
        while (call := plan.next_call()) is not None:
            plan.take(call.key, answer_to(call))
            assert seen <= plan.done <= plan.total
            seen = plan.done
        assert plan.done == 4


def _first_missing(plan: ComparisonPlan, known: dict[str, Answer]) -> Call:
    while (call := plan.next_call()) is not None:
        if call.key not in known:
            return call
        plan.take(call.key, known[call.key])
    raise AssertionError("nothing is missing")


class TestCalls:
    def test_every_model_is_asked_every_question_alike(self) -> None:
        plan = plan_of(capitals(2), options(models=3, stop=["\n"]))
        calls = []
        while (call := plan.next_call()) is not None:
            calls.append(call)
            plan.take(call.key, answer_to(call))
        assert [each.model for each in calls] == ["model-0", "model-1", "model-2"] * 2
        bodies = [{**each.body} for each in calls]
        assert bodies[0] == bodies[1] == bodies[2] != bodies[3]
        assert bodies[0] == {
            "messages": capitals(1)[0]["messages"][:2],
            "temperature": 0.0,
            "seed": 3,
            "max_completion_tokens": 64,
            "stop": ["\n"],
        }

    def test_weights_of_training_are_not_sent(self) -> None:
        row = asked()
        row["messages"] = [message("assistant", "Hi.", weight=0), *row["messages"]]
        call_made = plan_of([row], options(file_examples=1)).next_call()
        assert call_made is not None
        assert "weight" not in str(call_made.body)

    def test_a_judge_is_asked_in_both_orders_and_only_where_answers_differ(self) -> None:
        plan = plan_of(capitals(2), options(graders=[JUDGE]))
        said = {"1.2/0": "a", "1.2/1": "b", "2.2/0": "same", "2.2/1": "same"}
        verdicts: dict[str, Any] = {}
        while (call := plan.next_call()) is not None:
            if call.key not in said:
                verdicts[call.key] = call
            plan.take(call.key, Answer(message={"content": said.get(call.key, "?")}))
        assert list(verdicts) == ["1.2/1/judge/straight", "1.2/1/judge/swapped"]
        assert {each.model for each in verdicts.values()} == {"gpt-4.1"}
        straight, swapped = (each.body["messages"][1]["content"] for each in verdicts.values())
        assert "-first>\na\n" in straight
        assert "-second>\nb\n" in straight
        assert "-first>\nb\n" in swapped
        assert plan.done == 2

    def test_of_a_call_the_first_or_the_last_answer_is_asked_again(self) -> None:
        last = plan_of([calling()], options(file_examples=1)).cases[0]
        first = plan_of([calling()], options(file_examples=1, turn="first")).cases[0]
        assert (last.turn, last.reference.text) == (3, "It is warm.")
        assert (first.turn, [each.name for each in first.reference.calls]) == (1, ["weather"])
        assert first.body["tools"] == [tool()]
        assert len(first.body["messages"]) == 1

    def test_completions_and_preferences(self) -> None:
        rows = [{"prompt": "Sky:", "completion": " blue\n###\nrest"}]
        plan = plan_of(rows, options(format="completion", stop=["\n###"]))
        call_made = plan.next_call()
        assert call_made is not None
        assert (call_made.path, call_made.body["prompt"], call_made.body["max_tokens"]) == ("/completions", "Sky:", 64)
        assert plan.cases[0].reference.text == " blue"
        pair = {
            "input": {"messages": [message("user", "Greet.")], "tools": [tool()]},
            "preferred_output": [message("assistant", "Good day.")],
            "non_preferred_output": [message("assistant", "Yo.")],
        }
        (case,) = plan_of([pair], options(format="preference")).cases
        assert (case.reference.text, case.body["tools"]) == ("Good day.", [tool()])

    @pytest.mark.parametrize("row", [{"messages": []}, {"messages": [1]}, {"messages": [message("user")]}, {}])
    def test_what_is_no_example_gives_no_case(self, row: dict[str, Any]) -> None:
        assert plan_of([row, *capitals(1)], options()).total == 1


class TestChoice:
    @given(st.integers(0, 300), st.integers(1, 300), st.integers(0, 2**31 - 1))
    def test_by_the_seed_alone_without_doubles_and_in_order(self, examples: int, wanted: int, seed: int) -> None:
        chosen = choose(examples, wanted, seed)
        assert chosen == choose(examples, wanted, seed) == sorted(set(chosen))
        assert len(chosen) == min(examples, wanted)

    def test_places_count_lines_that_are_not_blank(self) -> None:
        content = b"\n" + jsonl(*capitals(3)).replace(b"}]}\n", b"}]}\n \r\n")
        pieces = [content[at : at + 7] for at in range(0, len(content), 7)]
        found = list(read_cases(pieces, [0, 2], "chat", turn="last", stop=[]))
        assert [case.line for case in found] == [2, 6]
        for case in found:
            assert content[case.offset :].startswith(b'{"messages"')


class TestGrading:
    def test_scores_wins_and_figures(self) -> None:
        plan = plan_of(capitals(4), options())
        right = {"1.2/0", "2.2/0", "1.2/1", "2.2/1", "3.2/1"}
        while (call := plan.next_call()) is not None:
            line = int(call.key.partition(".")[0])
            text = f"City {line - 1}" if call.key in right else "Nowhere"
            reason = "length" if call.key == "4.2/1" else "stop"
            plan.take(
                call.key,
                Answer(
                    message={"content": text}, finish_reason=reason, input_tokens=10, output_tokens=2, cost_micros=7
                ),
            )
        outcome, cases = grade(plan)
        first, second = outcome.models
        assert (first.score.value, second.score.value) == (0.5, 0.75)
        assert (first.difference, first.wins) == (None, None)
        assert second.difference is not None
        assert second.wins is not None
        assert second.difference.value == 0.25
        assert (second.wins.wins, second.wins.ties, second.wins.losses, second.wins.rate.value) == (1, 3, 0, 1.0)
        assert second.graders["exact"].pass_rate.value == 0.75
        assert (second.cut, second.refused) == (1, 0)
        assert (second.input_tokens, second.output_tokens, second.cost_micros) == (40, 8, 28)
        assert [case.winner for case in cases] == [None, None, 1, None]
        assert msgspec.convert(msgspec.to_builtins(outcome), ComparisonOutcome) == outcome

    def test_only_complete_cases_count(self) -> None:
        plan = plan_of(capitals(4), options())
        for _ in range(3):
            made = plan.next_call()
            assert made is not None
            plan.take(made.key, answer_to(made))
        outcome, cases = grade(plan)
        assert outcome.cases == len(cases) == 1

    def test_nothing_at_all(self) -> None:
        outcome, cases = grade(plan_of(capitals(2), options(graders=[JUDGE])))
        assert (outcome.cases, cases) == (0, [])
        assert outcome.models[1].score.value is None

    def test_a_refused_call_scores_nothing(self) -> None:
        plan = plan_of(capitals(1), options(graders=[{"type": "exact"}, JUDGE]))
        while (made := plan.next_call()) is not None:
            refused = made.key.endswith("/1")
            plan.take(made.key, Answer(refusal="Too long.") if refused else Answer(message={"content": "City 0"}))
        outcome, (case,) = grade(plan)
        assert case.grader_scores[1]["exact"].why == "The upstream refused the call: Too long."
        assert case.scores == [0.75, 0.0]
        assert outcome.models[1].refused == 1

    def test_calls_of_functions_are_graded(self) -> None:
        plan = plan_of([calling()], options(graders=[{"type": "tool_calls"}], turn="first", file_examples=1))
        for said in ([call()], [call(arguments='{"city": "Oslo"}')]):
            made = plan.next_call()
            assert made is not None
            plan.take(made.key, Answer(message={"role": "assistant", "tool_calls": said}))
        _, (case,) = grade(plan)
        assert [scores["tool_calls"].passed for scores in case.grader_scores] == [True, False]
