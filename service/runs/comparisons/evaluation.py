"""What comparisons have evaluated in processes of their own: the options of graders, and answered cases."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable

import msgspec

from service.runs.comparisons.graders.registry import AnyGrader
from service.runs.comparisons.grading import AnsweredCase, GradedCase
from service.runs.evaluator import Evaluator, portions


class CheckGraders(msgspec.Struct, frozen=True, tag="check_graders"):
    """Check the options of graders beyond their types, as by compiling their schemas and patterns."""

    graders: list[AnyGrader]


class GradeCases(msgspec.Struct, frozen=True, tag="grade_cases"):
    """Score answered cases; `cases` are `AnsweredCase`s, encoded already."""

    graders: list[AnyGrader]
    cases: list[msgspec.Raw]


async def grade_cases(
    evaluator: Evaluator, graders: list[AnyGrader], cases: Iterable[AnsweredCase], *, project_id: str
) -> AsyncGenerator[list[GradedCase]]:
    """The scores of the cases, some at a time. Raises `LimitReached`, which names grader and line, and `WorkFailed`."""
    for some in portions((msgspec.Raw(msgspec.json.encode(case)) for case in cases), len):
        yield await evaluator.ask(GradeCases(graders, some), list[GradedCase], project_id=project_id)
