"""`/v1/model_aliases`: create, list, retrieve, promote, roll back, history, delete."""

from litestar import Response, delete, get, post
from litestar.params import FromPath
from sqlalchemy.ext.asyncio import AsyncSession

from service.catalogue.base_models import Catalogue
from service.database.engine import Database
from service.http.bodies import read_body, read_query
from service.http.idempotency import answer_once
from service.http.operation import operation
from service.http.pagination import page_of
from service.http.resources import ApiRequest, resource
from service.http.wire_types import Page, PageQuery
from service.identity.audit import actor_of
from service.identity.requests import caller, request_identity_of
from service.models.aliases import actions
from service.models.aliases.queries import get_alias, list_aliases, list_promotions
from service.models.aliases.schemas import (
    Alias,
    AliasDeleted,
    CreateAlias,
    Promote,
    Promotion,
    RollBack,
    show_alias,
    show_promotion,
)


@post(
    "/model_aliases",
    status_code=200,
    summary="Create a model alias",
    opt=operation(returns=Alias, body=CreateAlias, creates=True),
)
async def post_alias(request: ApiRequest) -> Response[bytes]:
    """Give a model a stable name. Requests may use it as the model, and it can be promoted to other models later."""
    who = caller(request)
    body, sha256 = await read_body(request, CreateAlias)

    async def act(session: AsyncSession) -> Alias:
        row = await actions.create_alias(
            session,
            project_id=who.project_id,
            actor=actor_of(request),
            body=body,
            catalogue=resource(request, Catalogue),
        )
        return show_alias(row)

    return await answer_once(resource(request, Database), request_identity_of(request, sha256), act)


@get("/model_aliases", summary="List model aliases", opt=operation(returns=Page[Alias], query=PageQuery))
async def get_aliases(request: ApiRequest) -> Page[Alias]:
    """The project's aliases, newest first."""
    query, who = read_query(request, PageQuery), caller(request)
    async with resource(request, Database).project(who.project_id) as session:
        rows = await list_aliases(session, who.project_id, query)
    return page_of(rows, query.limit, show_alias, lambda alias: alias.id)


@get("/model_aliases/{alias:str}", summary="Retrieve a model alias", opt=operation(returns=Alias))
async def get_one_alias(request: ApiRequest, alias: FromPath[str]) -> Alias:
    """One alias, by its name or its id."""
    who = caller(request)
    async with resource(request, Database).project(who.project_id) as session:
        return show_alias(await get_alias(session, who.project_id, alias))


@post(
    "/model_aliases/{alias:str}/promote",
    status_code=200,
    summary="Promote a model to an alias",
    opt=operation(returns=Alias, body=Promote, creates=True),
)
async def post_promote(request: ApiRequest, alias: FromPath[str]) -> Response[bytes]:
    """Point the alias at another model, for every later request. `expected_model` guards against a race."""
    who = caller(request)
    body, sha256 = await read_body(request, Promote)

    async def act(session: AsyncSession) -> Alias:
        row = await actions.promote(
            session,
            project_id=who.project_id,
            actor=actor_of(request),
            name=alias,
            body=body,
            catalogue=resource(request, Catalogue),
        )
        return show_alias(row)

    return await answer_once(resource(request, Database), request_identity_of(request, sha256), act)


@post(
    "/model_aliases/{alias:str}/rollback",
    status_code=200,
    summary="Roll a model alias back",
    opt=operation(returns=Alias, body=RollBack, creates=True),
)
async def post_rollback(request: ApiRequest, alias: FromPath[str]) -> Response[bytes]:
    """Undo the present promotion, or go back to a version of the history."""
    who = caller(request)
    body, sha256 = await read_body(request, RollBack)

    async def act(session: AsyncSession) -> Alias:
        row = await actions.roll_back(
            session,
            project_id=who.project_id,
            actor=actor_of(request),
            name=alias,
            body=body,
            catalogue=resource(request, Catalogue),
        )
        return show_alias(row)

    return await answer_once(resource(request, Database), request_identity_of(request, sha256), act)


@get(
    "/model_aliases/{alias:str}/history",
    summary="List where a model alias pointed",
    opt=operation(returns=Page[Promotion], query=PageQuery),
)
async def get_history(request: ApiRequest, alias: FromPath[str]) -> Page[Promotion]:
    """Every promotion and roll-back with its author, reason and time, newest first."""
    query, who = read_query(request, PageQuery), caller(request)
    async with resource(request, Database).project(who.project_id) as session:
        rows = await list_promotions(session, await get_alias(session, who.project_id, alias), query)
    return page_of(rows, query.limit, show_promotion, lambda promotion: promotion.id)


@delete(
    "/model_aliases/{alias:str}",
    status_code=200,
    summary="Delete a model alias",
    opt=operation(returns=AliasDeleted),
)
async def delete_alias(request: ApiRequest, alias: FromPath[str]) -> AliasDeleted:
    """Delete the alias and its history; the model stays."""
    who = caller(request)
    async with resource(request, Database).project(who.project_id) as session:
        return AliasDeleted(
            id=await actions.delete_alias(session, project_id=who.project_id, actor=actor_of(request), name=alias)
        )


ROUTES = [post_alias, get_aliases, get_one_alias, post_promote, post_rollback, get_history, delete_alias]
