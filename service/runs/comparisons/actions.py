"""Quoting and creating comparisons."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from service.billing.prices import amount_of, micros_of_dollars
from service.catalogue.base_models import BaseModel
from service.database.tables import Run
from service.datasets.files.queries import get_referenced_file
from service.datasets.files.reports import report_pending, request_ready_report
from service.datasets.report_schema import FileReport, first_errors
from service.errors import InvalidRequest, NotFound
from service.inference.metering import Meter
from service.inference.routing import Route, Router
from service.models.queries import find_model, lock_model
from service.runs.actions import NewRun, compare_with_budgets, create_run
from service.runs.comparisons.evaluation import CheckGraders
from service.runs.comparisons.graders.base import GraderRefused
from service.runs.comparisons.graders.judge import JudgeGrader
from service.runs.comparisons.graders.registry import AnyGrader, graders_by_name
from service.runs.comparisons.options import Compared, ComparisonPlanOptions, Condition, Format
from service.runs.comparisons.quote import Judge, Price, estimate_cost
from service.runs.comparisons.request_schemas import CreateComparison
from service.runs.comparisons.schemas import CallsQuoted, ComparisonQuote
from service.runs.cost_estimate import CostEstimate
from service.runs.evaluator import Evaluator
from service.runs.schemas import RunPrice

FORMATS: tuple[Format, ...] = ("chat", "completion", "preference")


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedComparison:
    """A comparison whose models, graders and file are resolved, with its estimated cost."""

    file_id: str
    options: ComparisonPlanOptions
    concurrency: int
    price: CostEstimate
    budget_micros: int


async def resolve_comparison(
    body: CreateComparison,
    *,
    router: Router,
    meter: Meter,
    evaluator: Evaluator,
    project_id: str,
    max_concurrency: int,
    planned: Mapping[str, str] = MappingProxyType({}),
) -> ResolvedComparison:
    """Resolve the models, graders and file of a comparison and estimate its cost. Requests a missing file report.

    `planned` has the base models of those tuned models that do not exist yet, for an estimate in advance. Raises
    `InvalidRequest` with the field at fault, `InFlight` while the file is being checked, and as `check_graders`.
    """
    graders = await check_graders(body.graders, evaluator, project_id=project_id, param="graders")
    if len(set(body.models)) < len(body.models):
        raise InvalidRequest("A model is named twice. Name each once.", param="models", code="conflicting_parameters")
    judge_graders = {name: grader for name, grader in graders.items() if isinstance(grader, JudgeGrader)}
    if judge_graders and len(body.models) == 1:
        raise InvalidRequest(
            "A judge compares two answers: name a second model, or leave the judge out.",
            param="models",
            code="conflicting_parameters",
        )
    routes = [
        await _route(name, f"models[{place}]", router, project_id)
        if name not in planned
        else replace(await _route(planned[name], "model", router, project_id), model=name, tuned=True)
        for place, name in enumerate(body.models)
    ]
    judges = {
        name: await _route(grader.model, f"graders[{list(graders).index(name)}].model", router, project_id)
        for name, grader in judge_graders.items()
    }
    _check_kinds(routes, judges)
    for place, route in enumerate(routes):
        _check_limit(body.max_tokens, route, body.models[place])
    async with router.db.project(project_id) as session:
        file = await get_referenced_file(session, project_id, body.file, param="file")
        report = await request_ready_report(session, file, routes[0].base or router.catalogue.default)
    if report is None:
        raise report_pending("file")
    format = _checked_format(report, routes)
    examples = min(body.max_examples, report.examples)
    price = estimate_cost(
        report,
        examples,
        models=[await _price(meter, each) for each in routes],
        judges=[
            Judge(price=await _price(meter, each), instruction_tokens=len(judge_graders[name].instructions))
            for name, each in judges.items()
        ],
        max_tokens=body.max_tokens,
    )
    options = ComparisonPlanOptions(
        models=[Compared(requested=name, model=each.model) for name, each in zip(body.models, routes, strict=True)],
        graders=body.graders,
        judges={name: each.model for name, each in judges.items()},
        format=format,
        file_examples=report.examples,
        examples=examples,
        turn=body.turn,
        seed=body.seed,
        temperature=body.temperature,
        max_tokens=body.max_tokens,
        stop=body.stop,
    )
    return ResolvedComparison(
        file_id=body.file,
        options=options,
        concurrency=min(body.concurrency, max_concurrency),
        price=price,
        budget_micros=price.upper_micros if body.budget is None else micros_of_dollars(body.budget),
    )


async def create_comparison(
    session: AsyncSession,
    project_id: str,
    api_key_id: str,
    resolved: ResolvedComparison,
    *,
    condition: Condition | None = None,
) -> Run:
    """Create a comparison, which workers run. Its file and its models cannot be deleted until it has ended.

    Raises `InvalidRequest` when the project is archived, or when the file or a model has been deleted.
    """
    await get_referenced_file(session, project_id, resolved.file_id, param="file")
    for compared in resolved.options.models:
        tuned = await find_model(session, project_id, compared.model)
        if tuned is not None and tuned.project_id == project_id and not await lock_model(session, tuned):
            raise InvalidRequest(
                f"The model '{compared.requested}' has just been deleted.", param="models", code="model_not_found"
            )
    return await create_run(
        session,
        project_id,
        NewRun(
            kind="comparison",
            api_key_id=api_key_id,
            options=msgspec.to_builtins(msgspec.structs.replace(resolved.options, condition=condition)),
            concurrency=resolved.concurrency,
            budget_micros=resolved.budget_micros,
            total=resolved.options.examples,
            input_file_id=resolved.file_id,
        ),
    )


async def quote_comparison(session: AsyncSession, project_id: str, resolved: ResolvedComparison) -> ComparisonQuote:
    """Quote a comparison: its estimated cost, and whether the budgets allow it."""
    price = resolved.price
    remaining, reasons = await compare_with_budgets(
        session,
        project_id,
        kind="comparison",
        budget_micros=resolved.budget_micros,
        expected_micros=price.expected_micros,
    )
    return ComparisonQuote(
        examples=resolved.options.examples,
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


async def check_graders(
    graders: list[AnyGrader], evaluator: Evaluator, *, project_id: str, param: str
) -> dict[str, AnyGrader]:
    """The graders by name. Raises `InvalidRequest` with the option at fault, and as `Evaluator.check`."""
    try:
        by_name = graders_by_name(graders)
    except GraderRefused as refusal:
        raise InvalidRequest(refusal.message, param=f"{param}{refusal.option}", code="invalid_grader") from None
    await evaluator.check(CheckGraders(graders), project_id=project_id, param=param, code="invalid_grader")
    return by_name


async def _route(name: str, param: str, router: Router, project_id: str) -> Route:
    try:
        return await router.route(name, project_id)
    except (InvalidRequest, NotFound) as error:
        raise InvalidRequest(error.message, param=param, code=error.code) from None


def _check_kinds(routes: list[Route], judges: dict[str, Route]) -> None:
    for judge in judges.values():
        if _completes_only(judge):
            raise InvalidRequest(
                f"{judge.model} is no chat model, so it cannot judge. Name one that is.",
                param="graders",
                code="unsupported_method",
            )
    if len({_completes_only(route) for route in routes}) > 1:
        raise InvalidRequest(
            "Chat models and completion models cannot answer the same prompts. Compare those of one kind.",
            param="models",
            code="conflicting_parameters",
        )


def _check_limit(max_tokens: int, route: Route, name: str) -> None:
    max_output = route.base.max_output_tokens if route.base is not None else BaseModel.max_output_tokens
    if max_tokens > max_output:
        raise InvalidRequest(
            f"{name} answers with {max_output:,} tokens at most.", param="max_tokens", code="invalid_value"
        )


def _checked_format(report: FileReport, routes: list[Route]) -> Format:
    if report.errors:
        raise InvalidRequest(f"The file has errors. {first_errors(report)}", param="file", code="invalid_file_format")
    format = next((each for each in FORMATS if each == report.format), None)
    if format is None or not report.examples:
        raise InvalidRequest(
            f"The file is in the {report.format or 'unknown'} format; examples with answers are needed: "
            f"{', '.join(FORMATS)}.",
            param="file",
            code="invalid_file_format",
        )
    if (format == "completion") != _completes_only(routes[0]):
        raise InvalidRequest(
            f"The file is in the {report.format} format, which {routes[0].model} does not support.",
            param="file",
            code="invalid_file_format",
        )
    return format


def _completes_only(route: Route) -> bool:
    return route.base is not None and route.base.formats == ("completion",)


async def _price(meter: Meter, route: Route) -> Price:
    price = await meter.price_of(route)
    return Price(
        input_micros=price.input_micros_per_million if price else 0,
        output_micros=price.output_micros_per_million if price else 0,
    )
