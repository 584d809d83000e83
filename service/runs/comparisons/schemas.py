"""The wire types of model comparisons."""

from typing import Any, Literal

import msgspec

from service.billing.prices import Amount, amount_of
from service.database.tables import Run
from service.http.wire_types import unix
from service.runs.comparisons.graders.registry import AnyGrader
from service.runs.comparisons.grading import ComparisonOutcome, GraderFigures, JudgeFigures, ModelFigures
from service.runs.comparisons.options import ComparisonPlanOptions, Turn
from service.runs.comparisons.statistics import Estimate, Wins
from service.runs.comparisons.stored import stored_options, stored_outcome
from service.runs.schemas import (
    RunFault,
    RunPrice,
    RunProgress,
    RunTokens,
    show_fault,
    show_progress,
    show_tokens,
)
from service.states import RunStatus


class ComparisonOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The effective options: `examples` of the file's `file_examples` are used."""

    file_examples: int
    examples: int
    turn: Turn
    seed: int
    temperature: float
    max_tokens: int
    stop: list[str]
    concurrency: int


class ModelResult(msgspec.Struct, frozen=True, kw_only=True):
    """The results of one model. `model` is what the requested name, `asked`, stood for at the creation.

    `score` is the mean over cases of the mean over its graders, from 0 to 1; `difference` is the mean
    case-by-case difference from the first model's score. Every estimate has its 95 % interval. `cut` answers reached
    `max_tokens`.
    """

    requested: str = msgspec.field(name="asked")
    model: str
    score: Estimate
    difference: Estimate | None
    wins: Wins | None
    graders: dict[str, GraderFigures]
    refused: int
    cut: int
    tokens: RunTokens
    cost: Amount


class JudgesResult(msgspec.Struct, frozen=True, kw_only=True):
    """The calls, tokens and cost of all verdicts."""

    calls: int
    tokens: RunTokens
    cost: Amount


class ComparisonResult(msgspec.Struct, frozen=True, kw_only=True):
    """The figures over the complete cases, in the order of the models."""

    cases: int
    models: list[ModelResult]
    judges: JudgesResult


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """A comparison. `cost` is what has been posted for it so far. A failed comparison has a `result` too if some cases
    are complete. `fine_tuning_job` is the job whose `deploy` requested the comparison."""

    id: str
    object: Literal["model_comparison"] = "model_comparison"
    status: RunStatus
    progress: RunProgress
    models: list[str]
    file: str | None
    graders: list[dict[str, Any]]
    options: ComparisonOptions
    budget: Amount
    cost: Amount
    tokens: RunTokens
    result: ComparisonResult | None
    fine_tuning_job: str | None
    waiting_reason: str | None
    error: RunFault | None
    created_at: int
    finished_at: int | None


class CallsQuoted(msgspec.Struct, frozen=True, kw_only=True):
    """The possible number of calls: answers, and two verdicts for each answer that a judge compares."""

    low: int
    upper: int


class ComparisonQuote(msgspec.Struct, frozen=True, kw_only=True):
    """The cost of a comparison, estimated before it begins. `reasons` say why it could not be completed.

    The `upper` price assumes the longest example every time and every answer at its limit; it is the default budget.
    """

    object: Literal["model_comparison.quote"] = "model_comparison.quote"
    examples: int
    calls: CallsQuoted
    price: RunPrice
    budget: Amount
    remaining_budget: Amount | None
    allowed: bool
    reasons: list[str]


def show_comparison(row: Run) -> Comparison:
    """A comparison as the API shows it."""
    options = stored_options(row)
    outcome = stored_outcome(row)
    return Comparison(
        id=row.id,
        status=row.status,
        progress=show_progress(row),
        models=[each.requested for each in options.models],
        file=row.input_file_id,
        graders=[{"name": name, **_options_of(grader)} for name, grader in options.by_name.items()],
        options=ComparisonOptions(
            file_examples=options.file_examples,
            examples=options.examples,
            turn=options.turn,
            seed=options.seed,
            temperature=options.temperature,
            max_tokens=options.max_tokens,
            stop=options.stop,
            concurrency=row.concurrency,
        ),
        budget=amount_of(row.budget_micros),
        cost=amount_of(row.cost_micros),
        tokens=show_tokens(row),
        result=None if outcome is None else _result(options, outcome),
        fine_tuning_job=options.condition.job_id if options.condition is not None else None,
        waiting_reason=row.waiting_reason,
        error=show_fault(row),
        created_at=unix(row.created_at),
        finished_at=unix(row.finished_at) if row.finished_at else None,
    )


def _options_of(grader: AnyGrader) -> dict[str, Any]:
    options: dict[str, Any] = msgspec.to_builtins(grader)
    return {name: value for name, value in options.items() if name != "name"}


def _result(options: ComparisonPlanOptions, outcome: ComparisonOutcome) -> ComparisonResult:
    return ComparisonResult(
        cases=outcome.cases,
        models=[
            ModelResult(
                requested=compared.requested,
                model=compared.model,
                score=figures.score,
                difference=figures.difference,
                wins=figures.wins,
                graders=figures.graders,
                refused=figures.refused,
                cut=figures.cut,
                tokens=_tokens(figures),
                cost=amount_of(figures.cost_micros),
            )
            for compared, figures in zip(options.models, outcome.models, strict=True)
        ],
        judges=JudgesResult(
            calls=outcome.judges.calls, tokens=_tokens(outcome.judges), cost=amount_of(outcome.judges.cost_micros)
        ),
    )


def _tokens(spent: ModelFigures | JudgeFigures) -> RunTokens:
    return RunTokens(input=spent.input_tokens, output=spent.output_tokens)
