"""Costs and usage: of the organisation under `/v1/organization`, of the caller's project under `/v1/project`.

`costs` and `usage/completions` are OpenAI's; `usage/fine_tuning` is ours. A project gets the same objects, of its own.
"""

from typing import NoReturn

from litestar import get
from litestar.params import FromPath

from service.billing.usage_pages import completions_page, costs_page, fine_tuning_page
from service.billing.usage_schemas import (
    CompletionsPage,
    CostsPage,
    CostsQuery,
    FineTuningPage,
    ProjectCostsQuery,
    ProjectUsageQuery,
    UsageQuery,
)
from service.catalogue.base_models import Catalogue
from service.database.engine import Database
from service.errors import NotFound
from service.http.bodies import read_query
from service.http.operation import operation
from service.http.resources import ApiRequest, resource
from service.identity.requests import caller


@get("/costs", summary="List costs", opt=operation(returns=CostsPage, query=CostsQuery))
async def get_costs(request: ApiRequest) -> CostsPage:
    """Posted costs by days in UTC: of training when a job ends, of inference when a call ends."""
    query = read_query(request, CostsQuery)
    async with resource(request, Database).admin() as session:
        return await costs_page(session, query, query.project_ids)


@get(
    "/usage/completions",
    summary="List the usage of completions",
    opt=operation(returns=CompletionsPage, query=UsageQuery),
)
async def get_completions(request: ApiRequest) -> CompletionsPage:
    """Tokens and calls of chat and legacy completions, as counted by the upstream."""
    query = read_query(request, UsageQuery)
    async with resource(request, Database).admin() as session:
        return await completions_page(session, resource(request, Catalogue), query, query.project_ids)


@get(
    "/usage/fine_tuning",
    summary="List the usage of fine-tuning",
    opt=operation(returns=FineTuningPage, query=UsageQuery),
)
async def get_fine_tuning(request: ApiRequest) -> FineTuningPage:
    """Trained tokens and GPU-seconds of the jobs that ended, as their upstreams metered them."""
    query = read_query(request, UsageQuery)
    async with resource(request, Database).admin() as session:
        return await fine_tuning_page(session, resource(request, Catalogue), query, query.project_ids)


@get("/usage/{kind:str}", include_in_schema=False)
async def get_other_usage(kind: FromPath[str]) -> NoReturn:
    """Refuses the usage of anything else, which does not exist here."""
    raise NotFound(
        f"There is no usage of '{kind[:64]}', only of completions and fine_tuning: "
        "GET /v1/organization/usage/completions.",
        code="unknown_url",
    )


@get(
    "/project/costs",
    summary="List the project's costs",
    opt=operation(returns=CostsPage, query=ProjectCostsQuery),
)
async def get_own_costs(request: ApiRequest) -> CostsPage:
    """What this project has spent, by days in UTC: on training when a job ends, on inference when a call ends."""
    who, query = caller(request), read_query(request, ProjectCostsQuery)
    async with resource(request, Database).project(who.project_id) as session:
        return await costs_page(session, query, [who.project_id])


@get(
    "/project/usage/completions",
    summary="List the project's usage of completions",
    opt=operation(returns=CompletionsPage, query=ProjectUsageQuery),
)
async def get_own_completions(request: ApiRequest) -> CompletionsPage:
    """Tokens and calls of this project's chat and legacy completions, as counted by the upstream."""
    who, query = caller(request), read_query(request, ProjectUsageQuery)
    async with resource(request, Database).project(who.project_id) as session:
        return await completions_page(session, resource(request, Catalogue), query, [who.project_id])


@get(
    "/project/usage/fine_tuning",
    summary="List the project's usage of fine-tuning",
    opt=operation(returns=FineTuningPage, query=ProjectUsageQuery),
)
async def get_own_fine_tuning(request: ApiRequest) -> FineTuningPage:
    """Trained tokens and GPU-seconds of this project's jobs that ended, as their upstreams metered them."""
    who, query = caller(request), read_query(request, ProjectUsageQuery)
    async with resource(request, Database).project(who.project_id) as session:
        return await fine_tuning_page(session, resource(request, Catalogue), query, [who.project_id])


ROUTES = [get_own_costs, get_own_completions, get_own_fine_tuning]
ADMIN_ROUTES = [get_costs, get_completions, get_fine_tuning, get_other_usage]
