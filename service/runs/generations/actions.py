"""Generations: what is asked of which model, what it may cost, and beginning one."""

import datetime as dt
from dataclasses import dataclass

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from service.billing.actions import month_balance, month_of
from service.billing.prices import amount_of, micros_of_dollars
from service.catalogue.base_models import BaseModel
from service.catalogue.tokens import ENCODINGS
from service.database.tables import Run
from service.datasets.files.actions import clean_filename
from service.errors import InvalidRequest, NotFound
from service.inference.bounds import input_texts
from service.inference.metering import Meter
from service.inference.routing import Route, Router
from service.runs.actions import NewRun, create_run
from service.runs.generations.options import Options, Step
from service.runs.generations.prompts import answer_body, question_body
from service.runs.generations.quote import Estimate, Rates, estimate
from service.runs.generations.schemas import CallsQuoted, CreateGeneration, GenerationQuote, StepAsked, check_generation
from service.runs.plan import CHAT
from service.runs.schemas import RunPrice

QUESTION_TOKENS, ANSWER_TOKENS = 200, 800
QUESTION_TEMPERATURE = 1.0
LARGER = 4
"""How much longer an answer may be that was cut, within what its model gives."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedGeneration:
    """A generation that can be made, with its price."""

    options: Options
    concurrency: int
    price: Estimate
    budget_micros: int


async def resolve_generation(
    body: CreateGeneration, *, router: Router, meter: Meter, project_id: str, max_concurrency: int
) -> ResolvedGeneration:
    """Look the models up and price them. Raises `InvalidRequest` with the field at fault."""
    check_generation(body)
    question, question_route = await _step(body, "question", router, project_id)
    answer, answer_route = await _step(body, "answer", router, project_id)
    options = Options(
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
    price = estimate(
        options,
        await _rates(meter, question_route, question_body(options, longest, 1, [])),
        await _rates(meter, answer_route, answer_body(options, longest, "", attempt=1, larger=False, fault=None)),
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
    """Begin a generation, which workers make. Raises `InvalidRequest` when the project is archived."""
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
    """What it may cost, and whether that is there to be spent."""
    price = resolved.price
    remaining = (await month_balance(session, project_id, month_of(dt.datetime.now(dt.UTC)))).remaining
    reasons = []
    if resolved.budget_micros < price.expected_micros:
        reasons.append("The expected price is more than `budget`: the generation would end before its last example.")
    if remaining is not None and remaining < price.expected_micros:
        reasons.append("The expected price is more than what is left of the monthly budget.")
    return GenerationQuote(
        examples=resolved.options.total,
        calls=CallsQuoted(low=price.fewest_calls, upper=price.most_calls),
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
    """A step with its defaults. An alias is taken as the model that it stands for now, which then answers all of it."""
    asked = (body.question if name == "question" else body.answer) or StepAsked()
    model = asked.model or body.model or ""
    default = QUESTION_TOKENS if name == "question" else ANSWER_TOKENS
    param = "model" if asked.model is None else f"{name}.model"
    try:
        route = await router.route(model, project_id)
    except (InvalidRequest, NotFound) as error:
        raise InvalidRequest(error.message, param=param, code=error.code) from None
    base = route.base
    if base is not None and base.formats == ("completion",):
        raise InvalidRequest(f"{model} is no chat model. Name one that is.", param=param, code="unsupported_method")
    most = base.max_output_tokens if base is not None else BaseModel.max_output_tokens
    limit = asked.max_tokens or min(default, most)
    if limit > most:
        raise InvalidRequest(
            f"{model} answers with {most:,} tokens at most.", param=f"{name}.max_tokens", code="invalid_value"
        )
    step = Step(
        model=route.model,
        prompt=asked.prompt,
        temperature=QUESTION_TEMPERATURE if asked.temperature is None and name == "question" else asked.temperature,
        max_tokens=limit,
        larger_max_tokens=min(most, limit * LARGER),
    )
    return step, route


async def _rates(meter: Meter, route: Route, body: dict[str, object]) -> Rates:
    texts, others = input_texts(body, path=CHAT)
    encoding = route.base.encoding if route.base is not None else ENCODINGS[0]
    price = await meter.price_of(route)
    return Rates(
        prompt_tokens=others + await meter.count(texts, encoding),
        input_micros_per_million=price.input_micros_per_million if price else 0,
        output_micros_per_million=price.output_micros_per_million if price else 0,
    )


def _jsonl(filename: str) -> str:
    return filename if filename.endswith(".jsonl") else f"{filename[:249]}.jsonl"
