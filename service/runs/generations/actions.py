"""Quoting and creating generations."""

from dataclasses import dataclass

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from service.billing.prices import amount_of, micros_of_dollars
from service.catalogue.base_models import BaseModel
from service.catalogue.counting import counting_of
from service.database.tables import Run
from service.datasets.files.actions import clean_filename
from service.errors import InvalidRequest, NotFound
from service.inference.bounds import input_texts, template_tokens
from service.inference.metering import Meter
from service.inference.routing import Route, Router
from service.runs.actions import NewRun, compare_with_budgets, create_run
from service.runs.cost_estimate import CostEstimate
from service.runs.evaluator import Evaluator
from service.runs.generations.evaluation import CheckTools
from service.runs.generations.options import GenerationPlanOptions, Step
from service.runs.generations.prompts import answer_body, question_body
from service.runs.generations.quote import Rates, estimate_cost
from service.runs.generations.schemas import (
    CallsQuoted,
    CreateGeneration,
    GenerationQuote,
    StepRequest,
    check_generation,
)
from service.runs.plan import CHAT
from service.runs.schemas import RunPrice

QUESTION_TOKENS, ANSWER_TOKENS = 200, 800
QUESTION_TEMPERATURE = 1.0
LARGER_LIMIT_FACTOR = 4
"""An answer that was cut is requested again with this multiple of its limit, or the model's maximum."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedGeneration:
    """A generation whose models and options are resolved, with its estimated cost."""

    options: GenerationPlanOptions
    concurrency: int
    price: CostEstimate
    budget_micros: int


async def resolve_generation(
    body: CreateGeneration,
    *,
    router: Router,
    meter: Meter,
    evaluator: Evaluator,
    project_id: str,
    max_concurrency: int,
) -> ResolvedGeneration:
    """Resolve the models of a generation and estimate its cost.

    Raises `InvalidRequest` with the field at fault, and as `Evaluator.check`.
    """
    check_generation(body)
    if body.tools:
        await evaluator.check(CheckTools(body.tools), project_id=project_id, param="tools", code="invalid_tools")
    question, question_route = await _step(body, "question", router, project_id)
    answer, answer_route = await _step(body, "answer", router, project_id)
    options = GenerationPlanOptions(
        topics=body.topics,
        n_per_topic=body.n_per_topic,
        question=question,
        answer=answer,
        system_prompt=body.system_prompt,
        tools=body.tools,
        seed=body.seed,
        filename=_jsonl(clean_filename(body.filename)),
    )
    longest = max(range(len(body.topics)), key=lambda item: len(body.topics[item].encode()))
    price = estimate_cost(
        options,
        await _rates(meter, project_id, question_route, question_body(options, longest, 1, [])),
        await _rates(
            meter, project_id, answer_route, answer_body(options, longest, "", attempt=1, larger=False, fault=None)
        ),
    )
    return ResolvedGeneration(
        options=options,
        concurrency=min(body.concurrency, max_concurrency),
        price=price,
        budget_micros=price.upper_micros if body.budget is None else micros_of_dollars(body.budget),
    )


async def create_generation(
    session: AsyncSession, project_id: str, api_key_id: str, resolved: ResolvedGeneration
) -> Run:
    """Create a generation, which workers run. Raises `InvalidRequest` when the project is archived."""
    return await create_run(
        session,
        project_id,
        NewRun(
            kind="generation",
            api_key_id=api_key_id,
            options=msgspec.to_builtins(resolved.options),
            concurrency=resolved.concurrency,
            budget_micros=resolved.budget_micros,
            total=resolved.options.total,
        ),
    )


async def quote_generation(session: AsyncSession, project_id: str, resolved: ResolvedGeneration) -> GenerationQuote:
    """Quote a generation: its estimated cost, and whether the budgets allow it."""
    price = resolved.price
    remaining, reasons = await compare_with_budgets(
        session,
        project_id,
        kind="generation",
        budget_micros=resolved.budget_micros,
        expected_micros=price.expected_micros,
    )
    return GenerationQuote(
        examples=resolved.options.total,
        calls=CallsQuoted(low=price.min_calls, upper=price.max_calls),
        price=RunPrice(
            low=amount_of(price.low_micros),
            expected=amount_of(price.expected_micros),
            upper=amount_of(price.upper_micros),
        ),
        budget=amount_of(resolved.budget_micros),
        remaining_budget=None if remaining is None else amount_of(remaining),
        allowed=not reasons,
        reasons=reasons,
    )


async def _step(body: CreateGeneration, name: str, router: Router, project_id: str) -> tuple[Step, Route]:
    """A step with its defaults, and the route of its model. An alias is resolved once, for the whole run."""
    step = (body.question if name == "question" else body.answer) or StepRequest()
    model = step.model or body.model or ""
    default = QUESTION_TOKENS if name == "question" else ANSWER_TOKENS
    param = "model" if step.model is None else f"{name}.model"
    try:
        route = await router.route(model, project_id)
    except (InvalidRequest, NotFound) as error:
        raise InvalidRequest(error.message, param=param, code=error.code) from None
    base = route.base
    if base is not None and base.formats == ("completion",):
        raise InvalidRequest(f"{model} is no chat model. Name one that is.", param=param, code="unsupported_method")
    max_output = base.max_output_tokens if base is not None else BaseModel.max_output_tokens
    limit = step.max_tokens or min(default, max_output)
    if limit > max_output:
        raise InvalidRequest(
            f"{model} answers with {max_output:,} tokens at most.", param=f"{name}.max_tokens", code="invalid_value"
        )
    return Step(
        model=route.model,
        prompt=step.prompt,
        temperature=QUESTION_TEMPERATURE if step.temperature is None and name == "question" else step.temperature,
        max_tokens=limit,
        larger_max_tokens=min(max_output, limit * LARGER_LIMIT_FACTOR),
    ), route


async def _rates(meter: Meter, project_id: str, route: Route, body: dict[str, object]) -> Rates:
    texts, other_tokens = input_texts(body, path=CHAT)
    other_tokens += template_tokens(body, route.base)
    price = await meter.price_of(route)
    return Rates(
        prompt_tokens=other_tokens + await meter.count(texts, counting_of(route.base), project_id=project_id),
        input_micros_per_million=price.input_micros_per_million if price else 0,
        output_micros_per_million=price.output_micros_per_million if price else 0,
    )


def _jsonl(filename: str) -> str:
    return filename if filename.endswith(".jsonl") else f"{filename[:249]}.jsonl"
