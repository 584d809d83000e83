"""`/v1/dataset_generations`: quote, create, list, retrieve, cancel, events."""

from litestar import Response, get, post
from litestar.params import FromPath
from litestar.response import Stream
from sqlalchemy.ext.asyncio import AsyncSession

from service.catalogue.base_models import Catalogue
from service.database.engine import Database
from service.http.bodies import read_body, read_query
from service.http.idempotency import answer_once
from service.http.operation import operation
from service.http.pagination import page_of
from service.http.resources import ApiRequest, resource
from service.http.wire_types import NoFields, Page
from service.identity.requests import caller, request_identity_of
from service.inference.metering import Meter
from service.inference.routing import Router
from service.limits.unfinished_work import check_runs
from service.runs.actions import cancel_run
from service.runs.evaluator import Evaluator
from service.runs.events import answer_events
from service.runs.generations.actions import ResolvedGeneration, create_generation, quote_generation, resolve_generation
from service.runs.generations.schemas import CreateGeneration, Generation, GenerationQuote, show_generation
from service.runs.queries import ListRuns, get_run, list_runs
from service.runs.schemas import ListRunEvents, RunEventObject
from service.settings import Settings
from service.upstreams.accounts import Accounts


@post(
    "/dataset_generations",
    status_code=200,
    summary="Generate a dataset",
    opt=operation(returns=Generation, body=CreateGeneration, creates=True),
)
async def post_generation(request: ApiRequest) -> Response[bytes]:
    """Models write a question for each example, then its answer. The result is a file like any other."""
    who = caller(request)
    body, sha256 = await read_body(request, CreateGeneration)
    resolved = await _resolve(request, body)

    async def act(session: AsyncSession) -> Generation:
        await check_runs(session, who.project_id, resource(request, Settings).max_unfinished_work)
        return show_generation(await create_generation(session, who.project_id, who.key_id, resolved))

    return await answer_once(resource(request, Database), request_identity_of(request, sha256), act)


@post(
    "/dataset_generations/quotes",
    status_code=200,
    summary="Quote a dataset generation",
    opt=operation(returns=GenerationQuote, body=CreateGeneration),
)
async def post_generation_quote(request: ApiRequest) -> GenerationQuote:
    """The estimated cost of a generation, before it begins."""
    who = caller(request)
    body, _ = await read_body(request, CreateGeneration)
    resolved = await _resolve(request, body)
    async with resource(request, Database).project(who.project_id) as session:
        return await quote_generation(session, who.project_id, resolved)


@get(
    "/dataset_generations",
    summary="List dataset generations",
    opt=operation(returns=Page[Generation], query=ListRuns),
)
async def get_generations(request: ApiRequest) -> Page[Generation]:
    """The project's generations, newest first. `?file=` filters by the file that a generation made."""
    query, who = read_query(request, ListRuns), caller(request)
    async with resource(request, Database).project(who.project_id) as session:
        rows = await list_runs(session, who.project_id, "generation", query)
    return page_of(rows, query.limit, show_generation, lambda generation: generation.id)


@get(
    "/dataset_generations/{generation_id:str}",
    summary="Retrieve a dataset generation",
    opt=operation(returns=Generation),
)
async def get_one_generation(request: ApiRequest, generation_id: FromPath[str]) -> Generation:
    """One generation: its progress and cost, and once it has ended its file and outcome."""
    who = caller(request)
    async with resource(request, Database).project(who.project_id) as session:
        return show_generation(await get_run(session, who.project_id, "generation", generation_id))


@post(
    "/dataset_generations/{generation_id:str}/cancel",
    status_code=200,
    summary="Cancel a dataset generation",
    opt=operation(returns=Generation),
)
async def post_generation_cancel(request: ApiRequest, generation_id: FromPath[str]) -> Generation:
    """Cancel a generation: no file is made, and the calls so far are billed."""
    await read_body(request, NoFields)
    who = caller(request)
    async with resource(request, Database).project(who.project_id) as session:
        return show_generation(await cancel_run(session, who.project_id, "generation", generation_id))


@get(
    "/dataset_generations/{generation_id:str}/events",
    summary="List a dataset generation's events",
    opt=operation(returns=Page[RunEventObject], query=ListRunEvents),
)
async def get_generation_events(request: ApiRequest, generation_id: FromPath[str]) -> Page[RunEventObject] | Stream:
    """Events, newest first; with `stream=true` as server-sent events from the beginning, or after `Last-Event-ID`."""
    return await answer_events(request, "generation", generation_id)


async def _resolve(request: ApiRequest, body: CreateGeneration) -> ResolvedGeneration:
    return await resolve_generation(
        body,
        router=Router(
            db=resource(request, Database), catalogue=resource(request, Catalogue), accounts=resource(request, Accounts)
        ),
        meter=resource(request, Meter),
        evaluator=resource(request, Evaluator),
        project_id=caller(request).project_id,
        max_concurrency=resource(request, Settings).run_concurrency,
    )


ROUTES = [
    post_generation,
    post_generation_quote,
    get_generations,
    get_one_generation,
    post_generation_cancel,
    get_generation_events,
]
