"""The answer calls the same functions with the same arguments as the reference."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Any

import msgspec

from service.runs.comparisons.graders.base import AnswerContent, FunctionCall, GraderOptions, Score, pass_or_fail
from service.runs.comparisons.graders.json_values import NotJson, canonical, read_json


class ToolCallsGrader(GraderOptions, frozen=True, kw_only=True, tag="tool_calls"):
    """Names are compared exactly, arguments as JSON without those in `ignore_arguments`.

    The score is the share of calls in common; with a reference without calls, an answer without calls scores 1.
    """

    ignore_order: bool = False
    ignore_arguments: Annotated[tuple[str, ...], msgspec.Meta(max_length=64)] = ()

    def score(self, answer: AnswerContent, reference: AnswerContent) -> Score:
        """Pass if the calls are the same, without additional ones."""
        mine, theirs = [self._key(call) for call in answer.calls], [self._key(call) for call in reference.calls]
        count = max(len(mine), len(theirs))
        if not count:
            return pass_or_fail(True, "Neither calls a function.")
        if self.ignore_order:
            same = (Counter(mine) & Counter(theirs)).total()
        else:
            same = sum(one == other for one, other in zip(mine, theirs, strict=False))
        return Score(score=same / count, passed=same == count, why=_reason(answer.calls, reference.calls, same, count))

    def _key(self, call: FunctionCall) -> tuple[str, bytes | str]:
        try:
            arguments: Any = read_json(call.arguments)
            if isinstance(arguments, dict):
                arguments = {name: value for name, value in arguments.items() if name not in self.ignore_arguments}
            return call.name, canonical(arguments)
        except NotJson:
            return call.name, call.arguments  # text that is not JSON equals the same text only


def _reason(mine: tuple[FunctionCall, ...], theirs: tuple[FunctionCall, ...], same: int, count: int) -> str:
    if same == count:
        return "It makes the same calls."
    if not mine:
        return f"It calls nothing, and the example calls {_functions(len(theirs))}."
    if not theirs:
        return f"It calls {_names(mine)}, and the example calls nothing."
    if Counter(call.name for call in mine) == Counter(call.name for call in theirs):
        return f"It calls {_names(mine)}, with other arguments or in another order: {same} of {count} are the same."
    return f"It calls {_names(mine)}, and the example calls {_functions(len(theirs))}, not the same."


def _functions(count: int) -> str:
    return "a function" if count == 1 else f"{count} functions"


def _names(calls: tuple[FunctionCall, ...]) -> str:
    listed = ", ".join(call.name[:64] or "a function without a name" for call in calls[:5])
    return f"{listed} and {len(calls) - 5} more" if len(calls) > 5 else listed
