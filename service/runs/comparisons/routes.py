"""`/v1/model_comparisons`: quote, create, list, retrieve, cancel, events, cases."""

from litestar import Response, get, post
from litestar.params import FromPath
from litestar.response import Stream
from sqlalchemy.ext.asyncio import AsyncSession

from service.catalogue.base_models import Catalogue
from service.database.engine import Database
from service.http.bodies import read_body, read_query
from service.http.concurrent_requests import Exports
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
from service.runs.comparisons.actions import ResolvedComparison, create_comparison, quote_comparison, resolve_comparison
from service.runs.comparisons.case_listing import CaseObject, show_cases
from service.runs.comparisons.export import MEDIA_TYPES, export_cases
from service.runs.comparisons.queries import list_cases
from service.runs.comparisons.request_schemas import CreateComparison, ListCases
from service.runs.comparisons.schemas import Comparison, ComparisonQuote, show_comparison
from service.runs.evaluator import Evaluator
from service.runs.events import answer_events
from service.runs.queries import ListRuns, get_run, list_runs
from service.runs.schemas import ListRunEvents, RunEventObject
from service.settings import Settings
from service.storage import Storage
from service.upstreams.accounts import Accounts


@post(
    "/model_comparisons",
    status_code=200,
    summary="Compare models",
    opt=operation(returns=Comparison, body=CreateComparison, creates=True),
)
async def post_comparison(request: ApiRequest) -> Response[bytes]:
    """Send the examples of a file to several models and grade the answers. The others are compared with the first."""
    who = caller(request)
    body, sha256 = await read_body(request, CreateComparison)
    resolved = await _resolve(request, body)

    async def act(session: AsyncSession) -> Comparison:
        await check_runs(session, who.project_id, resource(request, Settings).max_unfinished_work)
        return show_comparison(await create_comparison(session, who.project_id, who.key_id, resolved))

    return await answer_once(resource(request, Database), request_identity_of(request, sha256), act)


@post(
    "/model_comparisons/quotes",
    status_code=200,
    summary="Quote a model comparison",
    opt=operation(returns=ComparisonQuote, body=CreateComparison),
)
async def post_comparison_quote(request: ApiRequest) -> ComparisonQuote:
    """The estimated cost of a comparison, before it begins."""
    who = caller(request)
    body, _ = await read_body(request, CreateComparison)
    resolved = await _resolve(request, body)
    async with resource(request, Database).project(who.project_id) as session:
        return await quote_comparison(session, who.project_id, resolved)


@get(
    "/model_comparisons",
    summary="List model comparisons",
    opt=operation(returns=Page[Comparison], query=ListRuns),
)
async def get_comparisons(request: ApiRequest) -> Page[Comparison]:
    """The project's comparisons, newest first. `?file=` filters by the file."""
    query, who = read_query(request, ListRuns), caller(request)
    async with resource(request, Database).project(who.project_id) as session:
        rows = await list_runs(session, who.project_id, "comparison", query)
    return page_of(rows, query.limit, show_comparison, lambda comparison: comparison.id)


@get(
    "/model_comparisons/{comparison_id:str}",
    summary="Retrieve a model comparison",
    opt=operation(returns=Comparison),
)
async def get_one_comparison(request: ApiRequest, comparison_id: FromPath[str]) -> Comparison:
    """One comparison: its progress and cost, and once it has ended the scores, wins, tokens and cost of every model."""
    who = caller(request)
    async with resource(request, Database).project(who.project_id) as session:
        return show_comparison(await get_run(session, who.project_id, "comparison", comparison_id))


@post(
    "/model_comparisons/{comparison_id:str}/cancel",
    status_code=200,
    summary="Cancel a model comparison",
    opt=operation(returns=Comparison),
)
async def post_comparison_cancel(request: ApiRequest, comparison_id: FromPath[str]) -> Comparison:
    """Cancel a comparison: nothing is graded, and the calls so far are billed."""
    await read_body(request, NoFields)
    who = caller(request)
    async with resource(request, Database).project(who.project_id) as session:
        return show_comparison(await cancel_run(session, who.project_id, "comparison", comparison_id))


@get(
    "/model_comparisons/{comparison_id:str}/events",
    summary="List a model comparison's events",
    opt=operation(returns=Page[RunEventObject], query=ListRunEvents),
)
async def get_comparison_events(request: ApiRequest, comparison_id: FromPath[str]) -> Page[RunEventObject] | Stream:
    """Events, newest first; with `stream=true` as server-sent events from the beginning, or after `Last-Event-ID`."""
    return await answer_events(request, "comparison", comparison_id)


@get(
    "/model_comparisons/{comparison_id:str}/cases",
    summary="List the cases of a model comparison",
    opt=operation(returns=Page[CaseObject], query=ListCases),
)
async def get_comparison_cases(request: ApiRequest, comparison_id: FromPath[str]) -> Page[CaseObject] | Stream:
    """Every model's answer to each example with its scores, in the order of the file, once the comparison has ended.

    `format=csv` and `format=jsonl` return all cases that match the filters as one file.
    """
    db = resource(request, Database)
    storage = resource(request, Storage)
    who, query = caller(request), read_query(request, ListCases)
    if query.format == "json":
        async with db.project(who.project_id) as session:
            run = await get_run(session, who.project_id, "comparison", comparison_id)
        cases = await show_cases(db, storage, run, query, limit=query.limit + 1)
        return page_of(cases, query.limit, lambda case: case, lambda case: case.id)
    place = resource(request, Exports).begin(who.project_id)
    try:
        async with db.project(who.project_id) as session:
            run = await get_run(session, who.project_id, "comparison", comparison_id)
            await list_cases(session, run, query, limit=1)  # refuses an invalid filter before the file begins
    except BaseException:
        place.release()
        raise
    headers = {
        "content-type": MEDIA_TYPES[query.format],
        "content-disposition": f'attachment; filename="{run.id}.{query.format}"',
    }
    return place.stream(export_cases(db, storage, run, query), headers=headers)


async def _resolve(request: ApiRequest, body: CreateComparison) -> ResolvedComparison:
    return await resolve_comparison(
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
    post_comparison,
    post_comparison_quote,
    get_comparisons,
    get_one_comparison,
    post_comparison_cancel,
    get_comparison_events,
    get_comparison_cases,
]
