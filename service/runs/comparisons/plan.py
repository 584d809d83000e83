"""The plan of a comparison: every model answers each case; judges compare each pair of answers in both orders. Pure.

The result depends on the options, the cases and the answers by key, not on the order in which answers arrive.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from service.runs.comparisons.cases import Case, answer_content
from service.runs.comparisons.graders.base import AnswerContent
from service.runs.comparisons.graders.judge import JudgeGrader, judging_messages
from service.runs.comparisons.options import ComparisonPlanOptions
from service.runs.plan import CHAT, Answer, Call

STRAIGHT, SWAPPED = "straight", "swapped"
VERDICT_TOKENS = 300


class ComparisonPlan:
    """See `service/runs/plan.py`. `cases` are in the order of the file."""

    def __init__(self, options: ComparisonPlanOptions, cases: Sequence[Case]) -> None:
        self.options = options
        self.cases = cases
        self.answers: dict[str, Answer] = {}
        self.graders = options.by_name
        self.judges = {name: each for name, each in self.graders.items() if isinstance(each, JudgeGrader)}
        self._pending_answer_calls = self._answer_calls()
        self._verdict_calls: deque[Call] = deque()
        self._by_key = {answer_key(case, model): (case, model) for case in cases for model in self._models}
        self._case_of = {key: case for key, (case, _) in self._by_key.items()}
        self._missing = {case.key: len(options.models) for case in cases}
        self._done = 0

    @property
    def total(self) -> int:
        """The number of cases."""
        return len(self.cases)

    @property
    def done(self) -> int:
        """The number of cases with every answer and verdict."""
        return self._done

    def next_call(self) -> Call | None:
        """A verdict whose answers have arrived, else the next answer."""
        return self._verdict_calls.popleft() if self._verdict_calls else next(self._pending_answer_calls, None)

    def take(self, key: str, answer: Answer) -> None:
        """Take an answer or a verdict; a repeated or unknown key has no effect."""
        if key in self.answers or key not in self._case_of:
            return
        self.answers[key] = answer
        case = self._case_of[key]
        if key in self._by_key:
            model = self._by_key[key][1]
            for contender in self._models[1:] if model == 0 else [model]:
                self._request_verdicts(case, contender)
        self._missing[case.key] -= 1
        self._done += not self._missing[case.key]

    def content(self, case: Case, model: int) -> AnswerContent | None:
        """The answer of a model; None for a refused call, and before it has answered."""
        answer = self.answers.get(answer_key(case, model))
        return None if answer is None or answer.message is None else answer_content(answer.message)

    def complete(self, case: Case) -> bool:
        """Whether a case has every answer and verdict."""
        return not self._missing[case.key]

    @property
    def _models(self) -> range:
        return range(len(self.options.models))

    def _answer_calls(self) -> Iterator[Call]:
        for case in self.cases:
            for model in self._models:
                yield self._answer_call(case, model)

    def _answer_call(self, case: Case, model: int) -> Call:
        options = self.options
        limit = "max_completion_tokens" if case.path == CHAT else "max_tokens"
        settings: dict[str, object] = {
            "temperature": options.temperature,
            "seed": options.seed,
            limit: options.max_tokens,
        }
        if options.stop:
            settings["stop"] = options.stop
        return Call(
            key=answer_key(case, model),
            model=options.models[model].model,
            body={**case.body, **settings},
            path=case.path,
            size_bytes=case.size_bytes,
        )

    def _request_verdicts(self, case: Case, contender: int) -> None:
        """Have the judges compare a contender with the first model, once both have answered, and differently."""
        first, second = self.content(case, 0), self.content(case, contender)
        if first is None or second is None or first == second:
            return
        for name, grader in self.judges.items():
            for order, pair in ((STRAIGHT, (first, second)), (SWAPPED, (second, first))):
                key = verdict_key(case, contender, name, order)
                messages = judging_messages(
                    grader, case.conversation, first=pair[0], second=pair[1], reference=case.reference
                )
                body: Mapping[str, object] = {
                    "messages": messages,
                    "temperature": 0,
                    "seed": self.options.seed,
                    "max_completion_tokens": VERDICT_TOKENS,
                }
                self._verdict_calls.append(
                    Call(
                        key=key,
                        model=self.options.judges[name],
                        body=msgspec.to_builtins(body),
                        size_bytes=sum(len(message["content"]) for message in messages),
                    )
                )
                self._case_of[key] = case
                self._missing[case.key] += 1


def answer_key(case: Case, model: int) -> str:
    """The key of a model's answer."""
    return f"{case.key}/{model}"


def verdict_key(case: Case, model: int, judge: str, order: str) -> str:
    """The key of a judge's verdict on a model."""
    return f"{case.key}/{model}/{judge}/{order}"
