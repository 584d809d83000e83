"""The plan of a generation: which question or answer to request next, and the examples made from them. Pure.

Questions are accepted or rejected in rounds, in the order of their examples: whether one is a near duplicate depends on
earlier examples only, not on which answer arrived first. Rejected questions are requested again in the next round.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator
from typing import Any

from service.datasets.checks.answers import FILLER
from service.datasets.checks.calls import arguments_against_schema, arguments_invalid, call_shape, call_undeclared
from service.datasets.preparation.changes import Dropped
from service.datasets.preparation.fixes.texts import strip_filler_openings
from service.runs.generations.near_duplicates import NearDuplicateFilter
from service.runs.generations.options import (
    MAX_ANSWER_ATTEMPTS,
    MAX_FAULT_CHARS,
    MAX_QUESTION_ATTEMPTS,
    GenerationOutcome,
    GenerationPlanOptions,
)
from service.runs.generations.prompts import answer_body, question_body
from service.runs.plan import Answer, Call

_ROW_CHECKS = (call_shape, call_undeclared, arguments_invalid, arguments_against_schema)
_QUOTES = {'"': '"', "'": "'", "“": "”", "「": "」", "«": "»"}


FaultOfCall = Callable[[str, str, Answer], str | None]
"""What is wrong with the calls of an answer: from the key of its call and the function that it has to call."""


class GenerationPlan:
    """See `service/runs/plan.py`.

    `fault_of_call` tells what is wrong with the calls of an answer. It compiles and evaluates schemas that a caller
    wrote, so a worker passes what an evaluation process has found.
    """

    def __init__(self, options: GenerationPlanOptions, fault_of_call: FaultOfCall | None = None) -> None:
        self._options = options
        self._fault_of_call = fault_of_call or self._evaluate
        self._round = 1
        self._in_round = list(range(options.total))
        self._requested = self._reviewed = 0
        self._unreviewed: dict[int, str | None] = {}
        self._rejected: list[int] = []
        self._rejection: dict[int, str] = {}
        self._accepted_by_topic: dict[str, list[str]] = {}
        self._near_duplicates = NearDuplicateFilter()
        self._questions: dict[int, str] = {}
        self._answer_calls: deque[Call] = deque()
        self._larger: set[int] = set()
        self._rows: dict[int, dict[str, Any]] = {}
        self._counts: Counter[str] = Counter()
        self._dropped: Counter[str] = Counter()

    @property
    def total(self) -> int:
        """The number of requested examples."""
        return self._options.total

    @property
    def done(self) -> int:
        """The number of complete examples."""
        return len(self._rows)

    def next_call(self) -> Call | None:
        """The answer to an accepted question, else the next question."""
        if self._answer_calls:
            return self._answer_calls.popleft()
        if self._requested == len(self._in_round):
            return None
        item = self._in_round[self._requested]
        self._requested += 1
        accepted = self._accepted_by_topic.get(self._options.topic_of(item), [])
        return Call(
            key=f"question/{item}/try-{self._round}",
            model=self._options.question.model,
            body=question_body(self._options, item, self._round, accepted),
        )

    def take(self, key: str, answer: Answer) -> None:
        """Review the questions whose turn has come, or make an example from an answer."""
        step, item, attempt = key.split("/")
        if step == "question":
            self._unreviewed[int(item)] = _question(answer)
            self._review_questions()
        else:
            self._take_answer(int(item), int(attempt.removeprefix("try-")), answer)

    def rows(self) -> Iterator[dict[str, Any]]:
        """The complete examples, in order."""
        return (row for _, row in sorted(self._rows.items()))

    def outcome(self) -> GenerationOutcome:
        """The outcome so far."""
        return GenerationOutcome(
            examples=len(self._rows),
            missing=self.total - len(self._rows),
            fillers_removed=self._counts["fillers_removed"],
            near_duplicates=self._counts["near_duplicate"],
            unusable_questions=self._counts["unusable_question"],
            cut=self._counts["cut"],
            empty_answers=self._counts["empty_answer"],
            invalid_calls=self._counts["invalid_call"],
            dropped=dict(sorted(self._dropped.items())),
        )

    def _review_questions(self) -> None:
        while self._reviewed < len(self._in_round) and self._in_round[self._reviewed] in self._unreviewed:
            item = self._in_round[self._reviewed]
            self._reviewed += 1
            question = self._unreviewed.pop(item)
            if question is not None and self._near_duplicates.accept(question):
                self._questions[item] = question
                self._request_answer(item, 1, None)
                continue
            reason = "unusable_question" if question is None else "near_duplicate"
            self._counts[reason] += 1
            self._rejection[item] = reason
            self._rejected.append(item)
        if self._reviewed == len(self._in_round) and self._rejected:
            self._next_round()

    def _next_round(self) -> None:
        rejected, self._rejected = self._rejected, []
        if self._round == MAX_QUESTION_ATTEMPTS:
            self._dropped.update(self._rejection[item] for item in rejected)
            return
        self._round += 1
        self._in_round, self._requested, self._reviewed = rejected, 0, 0
        self._accepted_by_topic = {}
        for item, question in sorted(self._questions.items()):
            self._accepted_by_topic.setdefault(self._options.topic_of(item), []).append(question)

    def _request_answer(self, item: int, attempt: int, fault: str | None) -> None:
        body = answer_body(
            self._options,
            item,
            self._questions[item],
            attempt=attempt,
            larger=item in self._larger,
            fault=fault,
        )
        key = answer_key(item, attempt)
        self._answer_calls.append(Call(key=key, model=self._options.answer.model, body=body))

    def _take_answer(self, item: int, attempt: int, answer: Answer) -> None:
        fault: str | None = None
        if answer.refusal is not None:
            self._dropped["refused"] += 1
            return
        if answer.finish_reason == "length":
            reason, repeat = "cut", item not in self._larger and self._options.answer.larger_max_tokens > self._limit
            self._larger.add(item)
        else:
            example = self._example(item, attempt, answer)
            if isinstance(example, dict):
                self._rows[item] = example
                return
            reason, fault, repeat = (
                ("invalid_call", example, True) if self._options.tools else ("empty_answer", None, True)
            )
        self._counts[reason] += 1
        if repeat and attempt < MAX_ANSWER_ATTEMPTS:
            self._request_answer(item, attempt + 1, fault)
        else:
            self._dropped[reason] += 1

    @property
    def _limit(self) -> int:
        return self._options.answer.max_tokens

    def _evaluate(self, key: str, function_name: str, answer: Answer) -> str | None:
        return call_fault(self._options.tools or [], function_name, calls_of_answer(answer))

    def _example(self, item: int, attempt: int, answer: Answer) -> dict[str, Any] | str:
        """The example, or the fault of the answer."""
        function = self._options.tool_of(item)
        messages: list[dict[str, Any]] = [{"role": "user", "content": self._questions[item]}]
        if self._options.system_prompt is not None:
            messages.insert(0, {"role": "system", "content": self._options.system_prompt})
        if function is not None:
            fault = self._fault_of_call(answer_key(item, attempt), function["name"], answer)
            if fault is not None:
                return fault
            calls = _with_ids(calls_of_answer(answer))
            return _row([*messages, {"role": "assistant", "tool_calls": calls}], self._options.tools or [])
        row = {"messages": [*messages, {"role": "assistant", "content": answer.text.strip()}]}
        stripped = strip_filler_openings(row, "chat")
        if isinstance(stripped, Dropped):
            return stripped.reason
        text = stripped["messages"][-1]["content"]
        if not text or FILLER.fullmatch(text):
            return "It says nothing."
        self._counts["fillers_removed"] += stripped != row
        return stripped


def _question(answer: Answer) -> str | None:
    """The question, without filler and quotation marks; None for an answer that is cut or empty."""
    if answer.finish_reason == "length":
        return None
    text = answer.text.strip()
    while (found := FILLER.match(text)) is not None and found.end() > 0:
        text = text[found.end() :].strip()
    if len(text) > 1 and _QUOTES.get(text[0]) == text[-1]:
        text = text[1:-1].strip()
    return text or None


def answer_key(item: int, attempt: int) -> str:
    """The key of the call for an example's answer."""
    return f"answer/{item}/try-{attempt}"


def item_of(key: str) -> int:
    """The example that a key of a call is for."""
    return int(key.split("/")[1])


def calls_of_answer(answer: Answer) -> Any:
    """The `tool_calls` of an answer, as the upstream sent them."""
    return (answer.message or {}).get("tool_calls")


def call_fault(tools: list[dict[str, Any]], function_name: str, calls: Any) -> str | None:
    """What is wrong with generated `tool_calls`, which have to call the function; None if they can be used."""
    if not isinstance(calls, list) or not calls:
        return "there was no call."
    with_ids = _with_ids(calls)
    row = _row([{"role": "user", "content": ""}, {"role": "assistant", "tool_calls": with_ids}], tools)
    for check in _ROW_CHECKS:
        for hit in check(row):
            return hit.message[:MAX_FAULT_CHARS]
    if all(call["function"]["name"] != function_name for call in with_ids):
        return f"it does not call {function_name}."
    return None


def _with_ids(calls: list[Any]) -> list[Any]:
    return [
        {"id": f"call_{number}", "type": "function", "function": call.get("function")}
        if isinstance(call, dict)
        else call
        for number, call in enumerate(calls, start=1)
    ]


def _row(messages: list[dict[str, Any]], tools: list[dict[str, Any]]) -> dict[str, Any]:
    return {"messages": messages, "tools": tools}
