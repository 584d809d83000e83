"""The wire types of dataset generations."""

from typing import Annotated, Any, Literal

import msgspec

from service.billing.prices import Amount, amount_of
from service.database.tables import Run
from service.datasets.parsing.formats import MAX_TOOLS
from service.errors import InvalidRequest
from service.http.wire_types import RequestModel, unix
from service.runs.budget import Budget
from service.runs.generations.options import GenerationOutcome, GenerationPlanOptions
from service.runs.generations.stored import stored_options, stored_outcome
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

MAX_EXAMPLES = 10_000
DEFAULT_CONCURRENCY = 8

Topic = Annotated[str, msgspec.Meta(min_length=1, max_length=1_000)]
Text = Annotated[str, msgspec.Meta(min_length=1, max_length=20_000)]
ModelName = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]


class StepRequest(RequestModel, frozen=True, kw_only=True):
    """The options of one of the two calls; omitted ones have defaults."""

    model: ModelName | None = None
    prompt: Text | None = None
    temperature: Annotated[float, msgspec.Meta(ge=0, le=2)] | None = None
    max_tokens: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] | None = None


class CreateGeneration(RequestModel, frozen=True, kw_only=True):
    """The body of a creation and of a quote. `model` is used for both steps unless a step names its own.

    `budget` is in dollars and bounds the sum of what is posted and reserved; it defaults to the quote's upper price.
    """

    topics: Annotated[list[Topic], msgspec.Meta(min_length=1, max_length=1_000)]
    n_per_topic: Annotated[int, msgspec.Meta(ge=1, le=MAX_EXAMPLES)]
    model: ModelName | None = None
    question: StepRequest | None = None
    answer: StepRequest | None = None
    system_prompt: Text | None = None
    tools: Annotated[list[dict[str, Any]], msgspec.Meta(min_length=1, max_length=MAX_TOOLS)] | None = None
    seed: Annotated[int, msgspec.Meta(ge=0, le=2_147_483_647)] = 0
    budget: Budget | None = None
    concurrency: Annotated[int, msgspec.Meta(ge=1, le=256)] = DEFAULT_CONCURRENCY
    filename: Annotated[str, msgspec.Meta(min_length=1, max_length=255)] = "generated.jsonl"


class GenerationStep(msgspec.Struct, frozen=True, kw_only=True):
    """The effective options of one of the two calls; null stands for the default."""

    model: str
    prompt: str | None
    temperature: float | None
    max_tokens: int


class GenerationOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The effective options."""

    topics: list[str]
    n_per_topic: int
    question: GenerationStep
    answer: GenerationStep
    system_prompt: str | None
    tools: list[dict[str, Any]] | None
    seed: int
    concurrency: int
    filename: str


class Generation(msgspec.Struct, frozen=True, kw_only=True):
    """A generation. `cost` is what has been posted for it so far; `outcome` has its counts once it has ended.

    A failed generation has a `file` too if some examples were made: `error` says how many.
    """

    id: str
    object: Literal["dataset_generation"] = "dataset_generation"
    status: RunStatus
    progress: RunProgress
    options: GenerationOptions
    budget: Amount
    cost: Amount
    tokens: RunTokens
    file: str | None
    outcome: GenerationOutcome | None
    waiting_reason: str | None
    error: RunFault | None
    created_at: int
    finished_at: int | None


class CallsQuoted(msgspec.Struct, frozen=True, kw_only=True):
    """The possible number of calls."""

    low: int
    upper: int


class GenerationQuote(msgspec.Struct, frozen=True, kw_only=True):
    """The cost of a generation, estimated before it begins. `reasons` say why it could not be completed.

    The `upper` price assumes every retry and every answer at its limit; it is the default budget.
    """

    object: Literal["dataset_generation.quote"] = "dataset_generation.quote"
    examples: int
    calls: CallsQuoted
    price: RunPrice
    budget: Amount
    remaining_budget: Amount | None
    allowed: bool
    reasons: list[str]


def check_generation(body: CreateGeneration) -> None:
    """Check what the types of the body do not express, except `tools`. Raises `InvalidRequest` with the field."""
    if len(body.topics) * body.n_per_topic > MAX_EXAMPLES:
        raise InvalidRequest(
            f"{len(body.topics):,} topics with {body.n_per_topic:,} examples each are more than {MAX_EXAMPLES:,}. "
            "Make several generations.",
            param="n_per_topic",
            code="too_many_examples",
        )
    for name, step in (("question", body.question), ("answer", body.answer)):
        if body.model is None and (step is None or step.model is None):
            raise InvalidRequest(
                "Name the `model` that is asked, or one in `question` and one in `answer`.",
                param="model" if step is None else f"{name}.model",
                code="missing_required_parameter",
            )


def show_generation(row: Run) -> Generation:
    """A generation as the API shows it."""
    options = stored_options(row)
    return Generation(
        id=row.id,
        status=row.status,
        progress=show_progress(row),
        options=GenerationOptions(
            topics=options.topics,
            n_per_topic=options.n_per_topic,
            question=_step(options, "question"),
            answer=_step(options, "answer"),
            system_prompt=options.system_prompt,
            tools=options.tools,
            seed=options.seed,
            concurrency=row.concurrency,
            filename=options.filename,
        ),
        budget=amount_of(row.budget_micros),
        cost=amount_of(row.cost_micros),
        tokens=show_tokens(row),
        file=row.output_file_id,
        outcome=stored_outcome(row),
        waiting_reason=row.waiting_reason,
        error=show_fault(row),
        created_at=unix(row.created_at),
        finished_at=unix(row.finished_at) if row.finished_at else None,
    )


def _step(options: GenerationPlanOptions, name: Literal["question", "answer"]) -> GenerationStep:
    step = options.question if name == "question" else options.answer
    return GenerationStep(
        model=step.model, prompt=step.prompt, temperature=step.temperature, max_tokens=step.max_tokens
    )
