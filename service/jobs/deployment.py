"""`deploy` of a job: the alias that takes its model, and the comparison that it has to pass before. Pure."""

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
    """`deploy.comparison` of a job's create. The tuned model has to beat the base model, or (`current`) what the alias
    stands for by then; `sure` wants that beyond chance. `least_score` is the mean score that it needs besides."""

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
    """`deploy` of a job's create: the alias that takes the model when the job succeeds; made when it is missing.

    With a `comparison` it takes the model only when that passes.
    """

    alias: AliasName
    comparison: DeployComparison | None = None


def check_condition(wanted: DeployComparison) -> None:
    """Raises `InvalidRequest` for a comparison that could decide nothing."""
    if wanted.must_beat is not None:
        return
    if wanted.least_score is None:
        raise InvalidRequest(
            "Say when the model is good enough: `must_beat`, or `least_score`.",
            param="deploy.comparison.must_beat",
            code="missing_required_parameter",
        )
    if wanted.sure or any(isinstance(grader, JudgeGrader) for grader in wanted.graders):
        raise InvalidRequest(
            "A judge, and `sure`, compare with another model. Name it by `must_beat`.",
            param="deploy.comparison.must_beat",
            code="conflicting_parameters",
        )


def comparison_for(wanted: DeployComparison, *, tuned: str, reference: str | None) -> CreateComparison:
    """The comparison that decides about a model."""
    return CreateComparison(
        models=[tuned] if reference is None else [reference, tuned],
        file=wanted.file,
        graders=wanted.graders,
        max_examples=wanted.max_examples,
        turn=wanted.turn,
        seed=wanted.seed,
        temperature=wanted.temperature,
        max_tokens=wanted.max_tokens,
        stop=wanted.stop,
        budget=wanted.budget,
    )


def why_not(outcome: ComparisonOutcome, condition: Condition, *, reference: str | None) -> str | None:
    """Why the model is not to be deployed by what a comparison found; None if it is."""
    figures = outcome.models[-1]
    if not outcome.cases or figures.score.value is None:
        return "nothing was compared"
    if condition.least_score is not None and figures.score.value < condition.least_score:
        return f"its score {figures.score.value:.3f} is below {condition.least_score:.3f}"
    if reference is None or figures.difference is None or figures.difference.value is None:
        return None
    theirs = figures.score.value - figures.difference.value
    told = f"its score {figures.score.value:.3f} against {theirs:.3f} of {reference}"
    if figures.difference.value <= 0:
        return f"{told} is no better"
    if condition.sure and (figures.difference.low is None or figures.difference.low <= 0):
        return f"{told} may be chance (`sure`)"
    return None
