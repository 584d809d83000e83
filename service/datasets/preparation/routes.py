"""`/v1/dataset_preparations`: create, list, retrieve, cancel, changes."""

from litestar import Response, get, post
from litestar.params import FromPath
from sqlalchemy.ext.asyncio import AsyncSession

from service.catalogue.base_models import Catalogue
from service.database.engine import Database
from service.datasets.preparation.actions import cancel_preparation, create_preparation, read_changes
from service.datasets.preparation.changes import Change
from service.datasets.preparation.queries import get_preparation, list_preparations
from service.datasets.preparation.schemas import CreatePreparation, ListPreparations, Preparation, show_preparation
from service.http.bodies import read_body, read_query
from service.http.idempotency import answer_once
from service.http.operation import operation
from service.http.pagination import page_of
from service.http.resources import ApiRequest, resource
from service.http.wire_types import NoFields, Page, PageQuery
from service.identity.requests import caller, request_identity_of
from service.limits.unfinished_work import check_preparations
from service.settings import Settings
from service.storage import Storage


@post(
    "/dataset_preparations",
    status_code=200,
    summary="Prepare a dataset",
    opt=operation(returns=Preparation, body=CreatePreparation, creates=True),
)
async def post_preparation(request: ApiRequest) -> Response[bytes]:
    """Make training and validation files of CSV, TSV, XLSX, JSON, JSON Lines or text, and fix what checks found."""
    who = caller(request)
    body, sha256 = await read_body(request, CreatePreparation)

    async def act(session: AsyncSession) -> Preparation:
        await check_preparations(session, who.project_id, resource(request, Settings).max_unfinished_work)
        return show_preparation(await create_preparation(session, who.project_id, body, resource(request, Catalogue)))

    return await answer_once(resource(request, Database), request_identity_of(request, sha256), act)


@get(
    "/dataset_preparations",
    summary="List dataset preparations",
    opt=operation(returns=Page[Preparation], query=ListPreparations),
)
async def get_preparations(request: ApiRequest) -> Page[Preparation]:
    """The project's preparations, newest first. With `?file=` those that have the file as their input or output."""
    query, who = read_query(request, ListPreparations), caller(request)
    async with resource(request, Database).project(who.project_id) as session:
        rows = await list_preparations(session, who.project_id, query)
    return page_of(rows, query.limit, show_preparation, lambda preparation: preparation.id)


@get(
    "/dataset_preparations/{preparation_id:str}",
    summary="Retrieve a dataset preparation",
    opt=operation(returns=Preparation),
)
async def get_one_preparation(request: ApiRequest, preparation_id: FromPath[str]) -> Preparation:
    """One preparation: its progress; after success its files, the guessed options, and the number of changes by fix."""
    who = caller(request)
    async with resource(request, Database).project(who.project_id) as session:
        return show_preparation(await get_preparation(session, who.project_id, preparation_id))


@post(
    "/dataset_preparations/{preparation_id:str}/cancel",
    status_code=200,
    summary="Cancel a dataset preparation",
    opt=operation(returns=Preparation),
)
async def post_cancel(request: ApiRequest, preparation_id: FromPath[str]) -> Preparation:
    """Stop a preparation. Its results are discarded."""
    await read_body(request, NoFields)
    who = caller(request)
    async with resource(request, Database).project(who.project_id) as session:
        return show_preparation(await cancel_preparation(session, who.project_id, preparation_id))


@get(
    "/dataset_preparations/{preparation_id:str}/changes",
    summary="List what a dataset preparation changed",
    opt=operation(returns=Page[Change], query=PageQuery),
)
async def get_changes(request: ApiRequest, preparation_id: FromPath[str]) -> Page[Change]:
    """Every row that was changed or dropped, with the fix and excerpts from before and after, in their order."""
    query, who = read_query(request, PageQuery), caller(request)
    async with resource(request, Database).project(who.project_id) as session:
        row = await get_preparation(session, who.project_id, preparation_id)
    changes = await read_changes(resource(request, Storage), row, after=query.after, limit=query.limit)
    return page_of(changes, query.limit, lambda change: change, lambda change: change.id)


ROUTES = [post_preparation, get_preparations, get_one_preparation, post_cancel, get_changes]
