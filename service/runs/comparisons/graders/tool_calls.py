"""Does the answer call the same functions with the same arguments as the example?"""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Any

import msgspec

from service.runs.comparisons.graders.kinds import Call, GraderOptions, Mark, Said, verdict
from service.runs.comparisons.graders.reading import NotJson, canonical, read_json


class ToolCallsGrader(GraderOptions, frozen=True, kw_only=True, tag="tool_calls"):
    """Names are compared as they are, arguments as JSON. `ignore_arguments` names those that may be anything.

    The score is the share of calls that both have; an example without calls wants an answer without any.
    """

    ignore_order: bool = False
    ignore_arguments: Annotated[tuple[str, ...], msgspec.Meta(max_length=64)] = ()

    def mark(self, said: Said, wanted: Said) -> Mark:
        """All calls and no other ones pass."""
        mine, theirs = [self._key(call) for call in said.calls], [self._key(call) for call in wanted.calls]
        most = max(len(mine), len(theirs))
        if not most:
            return verdict(True, "Neither calls a function.")
        if self.ignore_order:
            same = (Counter(mine) & Counter(theirs)).total()
        else:
            same = sum(one == other for one, other in zip(mine, theirs, strict=False))
        return Mark(score=same / most, passed=same == most, why=_reason(said.calls, wanted.calls, same, most))

    def _key(self, call: Call) -> tuple[str, bytes | str]:
        try:
            arguments: Any = read_json(call.arguments)
            if isinstance(arguments, dict):
                arguments = {name: value for name, value in arguments.items() if name not in self.ignore_arguments}
            return call.name, canonical(arguments)
        except NotJson:
            return call.name, call.arguments  # what is no JSON equals what is written alike, and nothing else


def _reason(said: tuple[Call, ...], wanted: tuple[Call, ...], same: int, most: int) -> str:
    if same == most:
        return "It makes the same calls."
    if not said:
        return f"It calls nothing, and the example calls {_functions(len(wanted))}."
    if not wanted:
        return f"It calls {_names(said)}, and the example calls nothing."
    if Counter(call.name for call in said) == Counter(call.name for call in wanted):
        return f"It calls {_names(said)}, with other arguments or in another order: {same} of {most} are the same."
    return f"It calls {_names(said)}, and the example calls {_functions(len(wanted))}, not the same."


def _functions(count: int) -> str:
    return "a function" if count == 1 else f"{count} functions"


def _names(calls: tuple[Call, ...]) -> str:
    listed = ", ".join(call.name[:64] or "a function without a name" for call in calls[:5])
    return f"{listed} and {len(calls) - 5} more" if len(calls) > 5 else listed
