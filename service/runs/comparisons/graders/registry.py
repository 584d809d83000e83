"""The registry of graders. A new grader is a module in this package, and a line here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from service.runs.comparisons.graders.base import GraderOptions, GraderRefused
from service.runs.comparisons.graders.contains import ContainsGrader
from service.runs.comparisons.graders.exact import ExactGrader
from service.runs.comparisons.graders.json_equality import JsonEqualityGrader
from service.runs.comparisons.graders.json_schema import JsonSchemaGrader
from service.runs.comparisons.graders.judge import JudgeGrader
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

SINGLE_ANSWER_GRADERS: dict[str, type[GraderOptions]] = {
    "exact": ExactGrader,
    "contains": ContainsGrader,
    "regular_expression": RegularExpressionGrader,
    "json_equality": JsonEqualityGrader,
    "json_schema": JsonSchemaGrader,
    "tool_calls": ToolCallsGrader,
    "text_similarity": TextSimilarityGrader,
}
"""Graders that score one answer at a time; a judge compares two."""

TYPES = (*SINGLE_ANSWER_GRADERS, "judge")


def type_of(grader: AnyGrader) -> str:
    """The type of a grader on the wire, which is also its default name."""
    return str(grader.__struct_config__.tag)


def graders_by_name(graders: Sequence[AnyGrader]) -> dict[str, AnyGrader]:
    """The graders by name. Raises `GraderRefused` for a repeated name. Their options are not checked here."""
    found: dict[str, AnyGrader] = {}
    for place, grader in enumerate(graders):
        name = grader.name or type_of(grader)
        if name in found:
            raise GraderRefused(
                f"Two graders are called '{name}'. Give each a name of its own.", option=f"[{place}].name"
            )
        found[name] = grader
    return found
