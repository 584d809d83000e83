"""A generation's plan: which question or answer to ask for next, and the examples that came of them. Pure.

Questions are judged in the order of their examples, by rounds: whether one is nearly the same as another depends on
those before it only, never on which was answered first. What is rejected is asked again in the next round.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator
from typing import Any

import msgspec

from service.datasets.checks.answers import FILLER
from service.datasets.checks.calls import arguments_against_schema, arguments_invalid, call_shape, call_undeclared
from service.datasets.preparation.changes import Dropped
from service.datasets.preparation.fixes.texts import strip_filler_openings
from service.runs.generations.near_duplicates import Alike
from service.runs.generations.options import Options
from service.runs.generations.prompts import answer_body, question_body
from service.runs.plan import Answer, Call

QUESTION_TRIES = 4
ANSWER_TRIES = 3
MOST_FAULT_CHARS = 300

_ROW_CHECKS = (call_shape, call_undeclared, arguments_invalid, arguments_against_schema)
_QUOTES = {'"': '"', "'": "'", "“": "”", "「": "」", "«": "»"}


class Generated(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a generation.

    `near_duplicates`, `unusable_questions`, `cut`, `empty_answers` and `invalid_calls` count calls that were asked
    again; `dropped` counts the examples that were given up, by why; `missing` are those and all that was not come to.
    """

    examples: int
    missing: int
    fillers_removed: int
    near_duplicates: int
    unusable_questions: int
    cut: int
    empty_answers: int
    invalid_calls: int
    dropped: dict[str, int]


class GenerationPlan:
    """See `service/runs/plan.py`."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._round = 1
        self._in_round = list(range(options.total))
        self._asked = self._judged = 0
        self._heard: dict[int, str | None] = {}
        self._rejected: list[int] = []
        self._why: dict[int, str] = {}
        self._there: dict[str, list[str]] = {}
        self._alike = Alike()
        self._questions: dict[int, str] = {}
        self._answer_calls: deque[Call] = deque()
        self._larger: set[int] = set()
        self._rows: dict[int, dict[str, Any]] = {}
        self._counts: Counter[str] = Counter()
        self._dropped: Counter[str] = Counter()

    @property
    def total(self) -> int:
        """The examples that were asked for."""
        return self._options.total

    @property
    def done(self) -> int:
        """The examples that are there."""
        return len(self._rows)

    def next_call(self) -> Call | None:
        """An answer if a question waits for one, else a question."""
        if self._answer_calls:
            return self._answer_calls.popleft()
        if self._asked == len(self._in_round):
            return None
        item = self._in_round[self._asked]
        self._asked += 1
        there = self._there.get(self._options.topic_of(item), [])
        return Call(
            key=f"question/{item}/try-{self._round}",
            model=self._options.question.model,
            body=question_body(self._options, item, self._round, there),
        )

    def take(self, key: str, answer: Answer) -> None:
        """Judge as many questions as can be, or make the example of an answer."""
        step, item, attempt = key.split("/")
        if step == "question":
            self._heard[int(item)] = _question(answer)
            self._judge()
        else:
            self._answered(int(item), int(attempt.removeprefix("try-")), answer)

    def rows(self) -> Iterator[dict[str, Any]]:
        """The examples, in their order."""
        return (row for _, row in sorted(self._rows.items()))

    def result(self) -> Generated:
        """What came of it so far."""
        return Generated(
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

    def _judge(self) -> None:
        while self._judged < len(self._in_round) and self._in_round[self._judged] in self._heard:
            item = self._in_round[self._judged]
            self._judged += 1
            question = self._heard.pop(item)
            if question is not None and self._alike.keep(question):
                self._questions[item] = question
                self._ask_for_answer(item, 1, None)
                continue
            why = "unusable_question" if question is None else "near_duplicate"
            self._counts[why] += 1
            self._why[item] = why
            self._rejected.append(item)
        if self._judged == len(self._in_round) and self._rejected:
            self._next_round()

    def _next_round(self) -> None:
        rejected, self._rejected = self._rejected, []
        if self._round == QUESTION_TRIES:
            self._dropped.update(self._why[item] for item in rejected)
            return
        self._round += 1
        self._in_round, self._asked, self._judged = rejected, 0, 0
        self._there = {}
        for item, question in sorted(self._questions.items()):
            self._there.setdefault(self._options.topic_of(item), []).append(question)

    def _ask_for_answer(self, item: int, attempt: int, fault: str | None) -> None:
        body = answer_body(
            self._options,
            item,
            self._questions[item],
            attempt=attempt,
            larger=item in self._larger,
            fault=fault,
        )
        key = f"answer/{item}/try-{attempt}"
        self._answer_calls.append(Call(key=key, model=self._options.answer.model, body=body))

    def _answered(self, item: int, attempt: int, answer: Answer) -> None:
        fault: str | None = None
        if answer.refusal is not None:
            self._dropped["refused"] += 1
            return
        if answer.finish_reason == "length":
            why, again = "cut", item not in self._larger and self._options.answer.larger_max_tokens > self._limit
            self._larger.add(item)
        else:
            made = self._row(item, answer)
            if isinstance(made, dict):
                self._rows[item] = made
                return
            why, fault, again = ("invalid_call", made, True) if self._options.tools else ("empty_answer", None, True)
        self._counts[why] += 1
        if again and attempt < ANSWER_TRIES:
            self._ask_for_answer(item, attempt + 1, fault)
        else:
            self._dropped[why] += 1

    @property
    def _limit(self) -> int:
        return self._options.answer.max_tokens

    def _row(self, item: int, answer: Answer) -> dict[str, Any] | str:
        """The example, or what is wrong with the answer."""
        function = self._options.tool_of(item)
        messages: list[dict[str, Any]] = [{"role": "user", "content": self._questions[item]}]
        if self._options.system_prompt is not None:
            messages.insert(0, {"role": "system", "content": self._options.system_prompt})
        if function is not None:
            return _calling_row(messages, self._options.tools or [], function["name"], answer)
        row = {"messages": [*messages, {"role": "assistant", "content": answer.text.strip()}]}
        made = strip_filler_openings(row, "chat")
        if isinstance(made, Dropped):
            return made.reason
        said = made["messages"][-1]["content"]
        if not said or FILLER.fullmatch(said):
            return "It says nothing."
        self._counts["fillers_removed"] += made != row
        return made


def _question(answer: Answer) -> str | None:
    """The question in an answer, without what stands around it; None where there is no whole one."""
    if answer.finish_reason == "length":
        return None
    text = answer.text.strip()
    while (found := FILLER.match(text)) is not None and found.end() > 0:
        text = text[found.end() :].strip()
    if len(text) > 1 and _QUOTES.get(text[0]) == text[-1]:
        text = text[1:-1].strip()
    return text or None


def _calling_row(
    messages: list[dict[str, Any]], tools: list[dict[str, Any]], wanted: str, answer: Answer
) -> dict[str, Any] | str:
    calls = (answer.message or {}).get("tool_calls")
    if not isinstance(calls, list) or not calls:
        return "there was no call."
    named: list[Any] = [
        {"id": f"call_{number}", "type": "function", "function": call.get("function")}
        if isinstance(call, dict)
        else call
        for number, call in enumerate(calls, start=1)
    ]
    row = {"messages": [*messages, {"role": "assistant", "tool_calls": named}], "tools": tools}
    for check in _ROW_CHECKS:
        for hit in check(row):
            return hit.message[:MOST_FAULT_CHARS]
    if all(call["function"]["name"] != wanted for call in named):
        return f"it does not call {wanted}."
    return row
