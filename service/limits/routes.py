"""`/v1/organization/projects/{id}/limits` and `/rate_limits`, and the same of the caller's project in `/v1/project`."""

import datetime as dt

from litestar import get, post
from litestar.params import FromPath
from sqlalchemy.ext.asyncio import AsyncSession

from service.billing.actions import month_balance, month_of
from service.billing.prices import amount_of
from service.catalogue.base_models import Catalogue
from service.database.engine import Database
from service.errors import InvalidRequest, unknown_cursor
from service.http.bodies import read_body, read_query
from service.http.operation import operation
from service.http.resources import ApiRequest, resource
from service.http.wire_types import Page
from service.identity.audit import actor_of
from service.identity.queries import get_project
from service.identity.requests import caller
from service.limits.actions import set_limits, set_rate_limit
from service.limits.queries import Rates, find_limits, rates_of
from service.limits.schemas import (
    ALL_MODELS,
    ID_PREFIX,
    LimitsObject,
    ListRateLimits,
    RateLimitObject,
    UpdateLimits,
    UpdateRateLimit,
)
from service.limits.usage import usage_of
from service.settings import Settings


@get("/projects/{project_id:str}/limits", summary="Retrieve a project's limits", opt=operation(returns=LimitsObject))
async def get_limits(request: ApiRequest, project_id: FromPath[str]) -> LimitsObject:
    """The project's limits, each with its usage. Null means no limit."""
    async with resource(request, Database).admin() as session:
        return await _show_limits(session, project_id)


@post(
    "/projects/{project_id:str}/limits",
    status_code=200,
    summary="Update a project's limits",
    opt=operation(returns=LimitsObject, body=UpdateLimits),
)
async def post_limits(request: ApiRequest, project_id: FromPath[str]) -> LimitsObject:
    """Set some limits; null removes one. A limit below its usage refuses new work and affects nothing that exists."""
    body, _ = await read_body(request, UpdateLimits)
    async with resource(request, Database).admin() as session:
        await set_limits(session, actor_of(request), project_id, body)
        return await _show_limits(session, project_id)


@get(
    "/projects/{project_id:str}/rate_limits",
    summary="List a project's rate limits",
    opt=operation(returns=Page[RateLimitObject], query=ListRateLimits),
)
async def get_rate_limits(request: ApiRequest, project_id: FromPath[str]) -> Page[RateLimitObject]:
    """`*` covers all requests of the project; the others cover inference with a model, which counts in both."""
    query = read_query(request, ListRateLimits)
    async with resource(request, Database).admin() as session:
        await get_project(session, project_id)
        rates = await rates_of(session, project_id)
    return _page([_show_rate(request, rates, model) for model in _models(request)], query)


@post(
    "/projects/{project_id:str}/rate_limits/{rate_limit_id:str}",
    status_code=200,
    summary="Update a rate limit",
    opt=operation(returns=RateLimitObject, body=UpdateRateLimit),
)
async def post_rate_limit(
    request: ApiRequest, project_id: FromPath[str], rate_limit_id: FromPath[str]
) -> RateLimitObject:
    """Set requests or tokens per minute. It applies within a second, in every process."""
    body, _ = await read_body(request, UpdateRateLimit)
    async with resource(request, Database).admin() as session:
        model = await set_rate_limit(session, actor_of(request), project_id, rate_limit_id, body, _models(request))
        return _show_rate(request, await rates_of(session, project_id), model)


@get("/project/limits", summary="Retrieve the project's limits", opt=operation(returns=LimitsObject))
async def get_own_limits(request: ApiRequest) -> LimitsObject:
    """This project's limits, each with its usage. Null means no limit. Only an administrator changes them."""
    who = caller(request)
    async with resource(request, Database).project(who.project_id) as session:
        return await _show_limits(session, who.project_id)


@get(
    "/project/rate_limits",
    summary="List the project's rate limits",
    opt=operation(returns=Page[RateLimitObject], query=ListRateLimits),
)
async def get_own_rate_limits(request: ApiRequest) -> Page[RateLimitObject]:
    """`*` covers all requests of this project; the others cover inference with a model, which counts in both."""
    who, query = caller(request), read_query(request, ListRateLimits)
    async with resource(request, Database).project(who.project_id) as session:
        rates = await rates_of(session, who.project_id)
    return _page([_show_rate(request, rates, model) for model in _models(request)], query)


async def _show_limits(session: AsyncSession, project_id: str) -> LimitsObject:
    project = await get_project(session, project_id)
    limits = await find_limits(session, project_id)
    month = month_of(dt.datetime.now(dt.UTC))
    balance = await month_balance(session, project_id, month)
    return LimitsObject(
        project_id=project_id,
        max_active_jobs=project.max_active_jobs,
        max_queued_jobs=project.max_queued_jobs,
        max_storage_bytes=limits.max_storage_bytes,
        max_file_bytes=limits.max_file_bytes,
        max_training_tokens_per_month=limits.max_training_tokens_per_month,
        max_requests_per_key_per_1_minute=limits.max_requests_per_key_per_1_minute,
        spend_limit=None if balance.limit is None else amount_of(balance.limit),
        usage=await usage_of(session, project_id, month, spend=amount_of(balance.in_use)),
    )


def _models(request: ApiRequest) -> list[str]:
    return [ALL_MODELS, *(model.name for model in resource(request, Catalogue).models)]


def _show_rate(request: ApiRequest, rates: Rates, model: str) -> RateLimitObject:
    overall = rates.requests(resource(request, Settings).requests_per_minute)
    return RateLimitObject(
        id=f"{ID_PREFIX}{model}",
        model=model,
        max_requests_per_1_minute=rates.model_requests(model) or overall,
        max_tokens_per_1_minute=rates.tokens(model),
    )


def _page(items: list[RateLimitObject], query: ListRateLimits) -> Page[RateLimitObject]:
    ids = [item.id for item in items]
    if query.after is not None and query.before is not None:
        raise InvalidRequest("Send 'after' or 'before', not both.", param="before", code="conflicting_parameters")
    for name, cursor in (("after", query.after), ("before", query.before)):
        if cursor is not None and cursor not in ids:
            raise unknown_cursor(cursor, param=name)
    if query.before is not None:
        left = items[: ids.index(query.before)]
        shown = left[-query.limit :]
    else:
        left = items[ids.index(query.after) + 1 :] if query.after is not None else items
        shown = left[: query.limit]
    return Page(
        data=shown,
        first_id=shown[0].id if shown else None,
        last_id=shown[-1].id if shown else None,
        has_more=len(left) > len(shown),
    )


ROUTES = [get_own_limits, get_own_rate_limits]
ADMIN_ROUTES = [get_limits, post_limits, get_rate_limits, post_rate_limit]
