"""`deploy` of a job: the alias that gets its model, and the comparison that the model must pass first. Pure."""

from typing import Literal

import msgspec

from service.errors import InvalidRequest
from service.http.wire_types import RequestModel
from service.models.aliases.names import AliasName
from service.runs.budget import Budget
from service.runs.comparisons.graders.base import Share
from service.runs.comparisons.graders.judge import JudgeGrader
from service.runs.comparisons.grading import ComparisonOutcome
from service.runs.comparisons.options import Condition, Turn
from service.runs.comparisons.request_schemas import (
    DEFAULT_EXAMPLES,
    DEFAULT_MAX_TOKENS,
    CreateComparison,
    Examples,
    Graders,
    MaxTokens,
    Seed,
    Stop,
    Temperature,
)


class DeployComparison(RequestModel, frozen=True, kw_only=True):
    """`deploy.comparison` of a job's create: the comparison that the tuned model must pass.

    It must beat the base model, or (`current`) the model that the alias points at by then; with `sure` the difference
    must be significant. It must also reach the mean score `least_score`.
    """

    file: str
    graders: Graders
    must_beat: Literal["base", "current"] | None = "base"
    sure: bool = False
    least_score: Share | None = None
    max_examples: Examples = DEFAULT_EXAMPLES
    turn: Turn = "last"
    seed: Seed = 0
    temperature: Temperature = 0.0
    max_tokens: MaxTokens = DEFAULT_MAX_TOKENS
    stop: Stop = msgspec.field(default_factory=list)
    budget: Budget | None = None


class Deploy(RequestModel, frozen=True, kw_only=True):
    """`deploy` of a job's create: the alias that is pointed at the model when the job succeeds, and created if missing.

    With a `comparison`, only if that passes.
    """

    alias: AliasName
    comparison: DeployComparison | None = None


def check_condition(comparison: DeployComparison, *, param: str) -> None:
    """Raises `InvalidRequest` for a comparison without a condition, or with some that contradict each other."""
    if comparison.must_beat is not None:
        return
    if comparison.least_score is None:
        raise InvalidRequest(
            "Say when the model is good enough: `must_beat`, or `least_score`.",
            param=f"{param}.must_beat",
            code="missing_required_parameter",
        )
    if comparison.sure or any(isinstance(grader, JudgeGrader) for grader in comparison.graders):
        raise InvalidRequest(
            "A judge, and `sure`, compare with another model. Name it with `must_beat`.",
            param=f"{param}.must_beat",
            code="conflicting_parameters",
        )


def comparison_for(comparison: DeployComparison, *, tuned: str, reference: str | None) -> CreateComparison:
    """The comparison that decides whether the model is deployed."""
    return CreateComparison(
        models=[tuned] if reference is None else [reference, tuned],
        file=comparison.file,
        graders=comparison.graders,
        max_examples=comparison.max_examples,
        turn=comparison.turn,
        seed=comparison.seed,
        temperature=comparison.temperature,
        max_tokens=comparison.max_tokens,
        stop=comparison.stop,
        budget=comparison.budget,
    )


def why_not(outcome: ComparisonOutcome, condition: Condition, *, reference: str | None) -> str | None:
    """Why the model must not be deployed according to a comparison's outcome; None if it may be."""
    figures = outcome.models[-1]
    if not outcome.cases or figures.score.value is None:
        return "nothing was compared"
    if condition.least_score is not None and figures.score.value < condition.least_score:
        return f"its score {figures.score.value:.3f} is below {condition.least_score:.3f}"
    if reference is None or figures.difference is None or figures.difference.value is None:
        return None
    theirs = figures.score.value - figures.difference.value
    scores = f"its score {figures.score.value:.3f} against {theirs:.3f} of {reference}"
    if figures.difference.value <= 0:
        return f"{scores} is no better"
    if condition.sure and (figures.difference.low is None or figures.difference.low <= 0):
        return f"{scores} may be chance (`sure`)"
    return None
