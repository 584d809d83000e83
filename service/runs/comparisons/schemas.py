"""Model comparisons on the wire."""

from typing import Any, Literal

import msgspec

from service.billing.prices import Amount, amount_of
from service.database.tables import Run
from service.http.wire_types import unix
from service.runs.comparisons.graders.registry import AnyGrader
from service.runs.comparisons.grading import GraderFigures, JudgeFigures, ModelFigures, Outcome
from service.runs.comparisons.options import Options, Turn
from service.runs.comparisons.statistics import Estimate, Wins
from service.runs.comparisons.stored import stored_options, stored_outcome
from service.runs.schemas import (
    RunFault,
    RunPrice,
    RunProgress,
    RunTokens,
    Status,
    show_fault,
    show_progress,
    show_tokens,
)


class ComparisonOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The options as they hold: `examples` of the file's `file_examples` are asked."""

    file_examples: int
    examples: int
    turn: Turn
    seed: int
    temperature: float
    max_tokens: int
    stop: list[str]
    concurrency: int


class ModelResult(msgspec.Struct, frozen=True, kw_only=True):
    """How one model did. `model` is what the name that was `asked` for stood for at the creation.

    `score` is the mean over cases of the mean of its graders, from 0 to 1; `difference` how much higher that is than
    the first model's, case by case. Every estimate has its 95 % interval. `cut` answers ran into `max_tokens`.
    """

    asked: str
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
    """What all verdicts together took."""

    calls: int
    tokens: RunTokens
    cost: Amount


class ComparisonResult(msgspec.Struct, frozen=True, kw_only=True):
    """The figures over the cases that are complete, in the order of the models."""

    cases: int
    models: list[ModelResult]
    judges: JudgesResult


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """A comparison. `cost` is at any time what was posted for it. `result` is there also when it failed with some cases
    complete. `fine_tuning_job` is the job whose `deploy` asked for it."""

    id: str
    object: Literal["model_comparison"] = "model_comparison"
    status: Status
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
    """How many calls there may be: answers, and two verdicts for each that a judge looks at."""

    low: int
    upper: int


class ComparisonQuote(msgspec.Struct, frozen=True, kw_only=True):
    """What a comparison may cost before it begins. `reasons` say what would keep it from its end.

    `upper` is every example as the longest one and every answer at its limit, and the budget unless one is given.
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
    """A row on the wire."""
    options, outcome = stored_options(row), stored_outcome(row)
    return Comparison(
        id=row.id,
        status=row.status,  # type: ignore[arg-type]  # held by a CHECK
        progress=show_progress(row),
        models=[each.asked for each in options.models],
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
    told: dict[str, Any] = msgspec.to_builtins(grader)
    return {name: value for name, value in told.items() if name != "name"}


def _result(options: Options, outcome: Outcome) -> ComparisonResult:
    return ComparisonResult(
        cases=outcome.cases,
        models=[
            ModelResult(
                asked=compared.asked,
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
