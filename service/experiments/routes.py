"""`/v1/fine_tuning/experiments`: quote, create, list, retrieve, cancel."""

import datetime as dt

from litestar import Response, get, post
from litestar.params import FromPath
from sqlalchemy.ext.asyncio import AsyncSession

from service.catalogue.base_models import Catalogue
from service.database.engine import Database
from service.errors import InFlight
from service.experiments.actions import create_experiment, quote_experiment, request_cancel, request_reports
from service.experiments.comparison import estimate_comparison
from service.experiments.queries import get_experiment, list_experiments, read_full
from service.experiments.quote import ExperimentQuote
from service.experiments.request_schemas import CreateExperiment, ListExperiments
from service.experiments.schemas import Experiment, show_experiment
from service.http.bodies import read_body, read_query
from service.http.idempotency import answer_once
from service.http.operation import operation
from service.http.pagination import page_of
from service.http.resources import ApiRequest, resource
from service.http.wire_types import NoFields, Page
from service.identity.audit import actor_of
from service.identity.requests import caller, request_identity_of
from service.inference.metering import Meter
from service.inference.routing import Router
from service.jobs.actions import PricingContext
from service.runs.cost_estimate import CostEstimate
from service.runs.evaluator import Evaluator
from service.settings import Settings
from service.upstreams.accounts import Accounts


@post(
    "/fine_tuning/experiments",
    status_code=200,
    summary="Create an experiment",
    opt=operation(returns=Experiment, body=CreateExperiment, creates=True),
)
async def post_experiment(request: ApiRequest) -> Response[bytes]:
    """Train arms that differ by hyperparameters, base models, seeds or shares of the data, within one budget."""
    who, db = caller(request), resource(request, Database)
    body, sha256 = await read_body(request, CreateExperiment)
    comparison = await _estimate_comparison(request, body)

    async def act(session: AsyncSession) -> Experiment:
        row = await create_experiment(
            session,
            project_id=who.project_id,
            body=body,
            pricing_context=_pricing_context(request),
            comparison=comparison,
            api_key_id=who.key_id,
            actor=actor_of(request),
        )
        [full] = await read_full(session, [row])
        return show_experiment(full)

    try:
        return await answer_once(db, request_identity_of(request, sha256), act)
    except InFlight:
        await _request_reports(request, body)
        raise


@post(
    "/fine_tuning/experiments/quotes",
    status_code=200,
    summary="Quote an experiment",
    opt=operation(returns=ExperimentQuote, body=CreateExperiment),
)
async def post_experiment_quote(request: ApiRequest) -> ExperimentQuote:
    """The cost of every arm, of the comparison and of all together, before anything is spent."""
    who, db = caller(request), resource(request, Database)
    body, _ = await read_body(request, CreateExperiment)
    comparison = await _estimate_comparison(request, body)
    try:
        async with db.project(who.project_id) as session:
            return await quote_experiment(
                session,
                project_id=who.project_id,
                body=body,
                pricing_context=_pricing_context(request),
                comparison=comparison,
            )
    except InFlight:
        await _request_reports(request, body)
        raise


@get(
    "/fine_tuning/experiments",
    summary="List experiments",
    opt=operation(returns=Page[Experiment], query=ListExperiments),
)
async def get_experiments(request: ApiRequest) -> Page[Experiment]:
    """The project's experiments, newest first."""
    query, who = read_query(request, ListExperiments), caller(request)
    async with resource(request, Database).project(who.project_id) as session:
        rows = await read_full(session, await list_experiments(session, who.project_id, query))
    return page_of(rows, query.limit, show_experiment, lambda experiment: experiment.id)


@get(
    "/fine_tuning/experiments/{experiment_id:str}",
    summary="Retrieve an experiment",
    opt=operation(returns=Experiment),
)
async def get_one_experiment(request: ApiRequest, experiment_id: FromPath[str]) -> Experiment:
    """One experiment: its arms with their jobs, losses and costs, and once it has ended the arm that it recommends."""
    who = caller(request)
    async with resource(request, Database).project(who.project_id) as session:
        [full] = await read_full(session, [await get_experiment(session, who.project_id, experiment_id)])
    return show_experiment(full)


@post(
    "/fine_tuning/experiments/{experiment_id:str}/cancel",
    status_code=200,
    summary="Cancel an experiment",
    opt=operation(returns=Experiment),
)
async def post_experiment_cancel(request: ApiRequest, experiment_id: FromPath[str]) -> Experiment:
    """Cancel an experiment and its arms. It is `cancelling` until all of them have ended; what they cost stays."""
    await read_body(request, NoFields)
    who = caller(request)
    async with resource(request, Database).project(who.project_id) as session:
        row = await request_cancel(session, actor_of(request), who.project_id, experiment_id)
        [full] = await read_full(session, [row])
    return show_experiment(full)


async def _estimate_comparison(request: ApiRequest, body: CreateExperiment) -> CostEstimate | None:
    return await estimate_comparison(
        body,
        router=Router(
            db=resource(request, Database), catalogue=resource(request, Catalogue), accounts=resource(request, Accounts)
        ),
        meter=resource(request, Meter),
        evaluator=resource(request, Evaluator),
        project_id=caller(request).project_id,
        max_concurrency=resource(request, Settings).run_concurrency,
    )


async def _request_reports(request: ApiRequest, body: CreateExperiment) -> None:
    """Request the reports that are missing; the refusal has rolled back that of the first attempt."""
    who = caller(request)
    async with resource(request, Database).project(who.project_id) as session:
        await request_reports(session, project_id=who.project_id, body=body, pricing_context=_pricing_context(request))


def _pricing_context(request: ApiRequest) -> PricingContext:
    return PricingContext(catalogue=resource(request, Catalogue), today=dt.datetime.now(dt.UTC).date())


ROUTES = [
    post_experiment,
    post_experiment_quote,
    get_experiments,
    get_one_experiment,
    post_experiment_cancel,
]
