"""What a comparison asks next: every model each question, and its judges, once both answers are there, in both orders.

Pure. What it makes follows from the options, the cases and the answers by their keys, in whatever order those come.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from service.runs.comparisons.cases import Case, said_of
from service.runs.comparisons.graders.judge import JudgeGrader, judging_messages
from service.runs.comparisons.graders.kinds import Said
from service.runs.comparisons.options import Options
from service.runs.plan import CHAT, Answer, Call

STRAIGHT, SWAPPED = "straight", "swapped"
VERDICT_TOKENS = 300


class ComparisonPlan:
    """The plan of one comparison, over its cases in the order of the file."""

    def __init__(self, options: Options, cases: Sequence[Case]) -> None:
        self.options = options
        self.cases = cases
        self.answers: dict[str, Answer] = {}
        self.graders = options.by_name
        self.judging = {name: each for name, each in self.graders.items() if isinstance(each, JudgeGrader)}
        self._fresh = self._answer_calls()
        self._to_judge: deque[Call] = deque()
        self._by_key = {answer_key(case, model): (case, model) for case in cases for model in self._models}
        self._case_of = {key: case for key, (case, _) in self._by_key.items()}
        self._missing = {case.key: len(options.models) for case in cases}
        self._done = 0

    @property
    def total(self) -> int:
        """The cases."""
        return len(self.cases)

    @property
    def done(self) -> int:
        """The cases of which every answer and verdict is there."""
        return self._done

    def next_call(self) -> Call | None:
        """A verdict that can be asked for, else the next answer."""
        return self._to_judge.popleft() if self._to_judge else next(self._fresh, None)

    def take(self, key: str, answer: Answer) -> None:
        """Take in an answer or a verdict."""
        if key in self.answers or key not in self._case_of:
            return
        self.answers[key] = answer
        case = self._case_of[key]
        if key in self._by_key:
            model = self._by_key[key][1]
            for contender in self._models[1:] if model == 0 else [model]:
                self._judge(case, contender)
        self._missing[case.key] -= 1
        self._done += not self._missing[case.key]

    def said(self, case: Case, model: int) -> Said | None:
        """What a model has answered; None for a refusal, and while there is no answer."""
        answer = self.answers.get(answer_key(case, model))
        return None if answer is None or answer.message is None else said_of(answer.message)

    def complete(self, case: Case) -> bool:
        """Whether all of a case is there."""
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
        )

    def _judge(self, case: Case, contender: int) -> None:
        """Ask the judges about a contender and the first model, once both have said something and not the same."""
        first, second = self.said(case, 0), self.said(case, contender)
        if first is None or second is None or first == second:
            return
        for name, grader in self.judging.items():
            for order, pair in ((STRAIGHT, (first, second)), (SWAPPED, (second, first))):
                key = verdict_key(case, contender, name, order)
                messages = judging_messages(
                    grader, case.conversation, first=pair[0], second=pair[1], wanted=case.wanted
                )
                body: Mapping[str, object] = {
                    "messages": messages,
                    "temperature": 0,
                    "seed": self.options.seed,
                    "max_completion_tokens": VERDICT_TOKENS,
                }
                self._to_judge.append(Call(key=key, model=self.options.judges[name], body=msgspec.to_builtins(body)))
                self._case_of[key] = case
                self._missing[case.key] += 1


def answer_key(case: Case, model: int) -> str:
    """The key of a model's answer."""
    return f"{case.key}/{model}"


def verdict_key(case: Case, model: int, judge: str, order: str) -> str:
    """The key of a judge's verdict on a model."""
    return f"{case.key}/{model}/{judge}/{order}"
