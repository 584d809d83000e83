"""Every grader. A new one is a file beside this one, and a line here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from service.runs.comparisons.graders.contains import ContainsGrader
from service.runs.comparisons.graders.exact import ExactGrader
from service.runs.comparisons.graders.json_equality import JsonEqualityGrader
from service.runs.comparisons.graders.json_schema import JsonSchemaGrader
from service.runs.comparisons.graders.judge import JudgeGrader
from service.runs.comparisons.graders.kinds import GraderOptions, GraderRefused
from service.runs.comparisons.graders.regular_expression import RegularExpressionGrader
from service.runs.comparisons.graders.text_similarity import TextSimilarityGrader
from service.runs.comparisons.graders.tool_calls import ToolCallsGrader

AnyGrader: TypeAlias = (
    ExactGrader
    | ContainsGrader
    | RegularExpressionGrader
    | JsonEqualityGrader
    | JsonSchemaGrader
    | ToolCallsGrader
    | TextSimilarityGrader
    | JudgeGrader
)

MARKING: dict[str, type[GraderOptions]] = {
    "exact": ExactGrader,
    "contains": ContainsGrader,
    "regular_expression": RegularExpressionGrader,
    "json_equality": JsonEqualityGrader,
    "json_schema": JsonSchemaGrader,
    "tool_calls": ToolCallsGrader,
    "text_similarity": TextSimilarityGrader,
}
"""Those that mark one answer by itself; a judge is asked about two."""

TYPES = (*MARKING, "judge")


def type_of(grader: AnyGrader) -> str:
    """The type as it is written, which is a grader's name where it has none of its own."""
    return str(grader.__struct_config__.tag)


def named(graders: Sequence[AnyGrader]) -> dict[str, AnyGrader]:
    """The graders by their names. Raises `GraderRefused` for two of one name, and for options that make no sense."""
    found: dict[str, AnyGrader] = {}
    for place, grader in enumerate(graders):
        name = grader.name or type_of(grader)
        if name in found:
            raise GraderRefused(
                f"Two graders are called '{name}'. Give each a name of its own.", option=f"[{place}].name"
            )
        try:
            grader.check()
        except GraderRefused as refusal:
            raise GraderRefused(refusal.message, option=f"[{place}].{refusal.option}") from None
        found[name] = grader
    return found
