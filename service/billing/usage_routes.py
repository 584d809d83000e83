"""`/v1/organization/costs`, `/v1/organization/usage/completions` and, ours, `/v1/organization/usage/fine_tuning`."""

import time
from collections.abc import Sequence
from typing import Literal, NoReturn

import msgspec
from litestar import get
from litestar.params import FromPath

from service.billing import usage
from service.billing.buckets import SECONDS, Span, Width, span
from service.billing.ledger import GPU_LINE_ITEM
from service.billing.prices import amount_of
from service.billing.usage_schemas import (
    CompletionsBucket,
    CompletionsPage,
    CompletionsResult,
    CostBucket,
    CostResult,
    CostsPage,
    CostsQuery,
    FineTuningBucket,
    FineTuningPage,
    FineTuningResult,
    UsageQuery,
)
from service.catalogue.base_models import Catalogue
from service.database.engine import Database
from service.errors import InvalidRequest, NotFound
from service.http.bodies import read_query
from service.http.operation import operation
from service.http.resources import ApiRequest, resource

LIMITS: dict[Width, tuple[int, int]] = {"1d": (7, 31), "1h": (24, 168), "1m": (60, 1440)}
"""The default and the maximum number of buckets on a page of usage (OpenAI API reference, "Completions usage")."""


@get("/costs", summary="List costs", opt=operation(returns=CostsPage, query=CostsQuery))
async def get_costs(request: ApiRequest) -> CostsPage:
    """Posted costs by days in UTC: of training when a job ends, of inference when a call ends."""
    query = read_query(request, CostsQuery)
    covered = _span(query, query.bucket_width, query.limit, whole=True)
    async with resource(request, Database).admin() as session:
        found = await usage.costs(
            session,
            covered.buckets,
            seconds=SECONDS[query.bucket_width],
            group_by=query.group_by,
            only={"project_id": query.project_ids, "api_key_id": query.api_key_ids, "line_item": query.line_items},
        )
    by_line = "line_item" in query.group_by
    return CostsPage(
        data=[
            CostBucket(
                start_time=bucket.begin,
                end_time=bucket.end,
                results=[_cost_result(cost, by_line=by_line) for cost in costs],
            )
            for bucket, costs in zip(covered.buckets, found, strict=True)
        ],
        has_more=covered.next_page is not None,
        next_page=covered.next_page,
    )


@get(
    "/usage/completions",
    summary="List the usage of completions",
    opt=operation(returns=CompletionsPage, query=UsageQuery),
)
async def get_completions(request: ApiRequest) -> CompletionsPage:
    """Tokens and calls of chat and legacy completions, as counted by the upstream."""
    query = read_query(request, UsageQuery)
    covered = _usage_span(query)
    async with resource(request, Database).admin() as session:
        found = await usage.completions(
            session,
            covered.buckets,
            seconds=SECONDS[query.bucket_width],
            group_by=query.group_by,
            only=_usage_filters(request, query),
        )
    return CompletionsPage(
        data=[
            CompletionsBucket(
                start_time=bucket.begin,
                end_time=bucket.end,
                results=[
                    CompletionsResult(
                        input_tokens=each.input_tokens,
                        output_tokens=each.output_tokens,
                        num_model_requests=each.requests,
                        **each.group,
                    )
                    for each in used
                ],
            )
            for bucket, used in zip(covered.buckets, found, strict=True)
        ],
        has_more=covered.next_page is not None,
        next_page=covered.next_page,
    )


@get(
    "/usage/fine_tuning",
    summary="List the usage of fine-tuning",
    opt=operation(returns=FineTuningPage, query=UsageQuery),
)
async def get_fine_tuning(request: ApiRequest) -> FineTuningPage:
    """Trained tokens and GPU-seconds of the jobs that ended, as their upstreams metered them."""
    query = read_query(request, UsageQuery)
    covered = _usage_span(query)
    async with resource(request, Database).admin() as session:
        found = await usage.fine_tuning(
            session,
            covered.buckets,
            seconds=SECONDS[query.bucket_width],
            group_by=query.group_by,
            only=_usage_filters(request, query),
        )
    return FineTuningPage(
        data=[
            FineTuningBucket(
                start_time=bucket.begin,
                end_time=bucket.end,
                results=[
                    FineTuningResult(
                        trained_tokens=each.trained_tokens,
                        gpu_seconds=round(each.gpu_seconds, 3),
                        num_jobs=each.jobs,
                        **each.group,
                    )
                    for each in used
                ],
            )
            for bucket, used in zip(covered.buckets, found, strict=True)
        ],
        has_more=covered.next_page is not None,
        next_page=covered.next_page,
    )


@get("/usage/{kind:str}", include_in_schema=False)
async def get_other_usage(kind: FromPath[str]) -> NoReturn:
    """Refuses the usage of anything else, which does not exist here."""
    raise NotFound(
        f"There is no usage of '{kind[:64]}', only of completions and fine_tuning: "
        "GET /v1/organization/usage/completions.",
        code="unknown_url",
    )


def _cost_result(cost: usage.Cost, *, by_line: bool) -> CostResult:
    quantity: float | None = None
    unit: Literal["tokens", "duration_seconds"] | None = None
    if by_line and str(cost.group["line_item"]).startswith(GPU_LINE_ITEM) and cost.gpu_seconds is not None:
        quantity, unit = round(cost.gpu_seconds, 3), "duration_seconds"
    elif by_line and cost.quantity is not None:
        quantity, unit = cost.quantity, "tokens"
    return CostResult(amount=amount_of(cost.micros), quantity=quantity, quantity_unit=unit, **cost.group)


def _usage_span(query: UsageQuery) -> Span:
    default, maximum = LIMITS[query.bucket_width]
    limit = default if query.limit is None else query.limit
    if limit > maximum:
        raise InvalidRequest(f"'limit' is at most {maximum} for buckets of {query.bucket_width}.", param="limit")
    return _span(query, query.bucket_width, limit, whole=False)


def _usage_filters(request: ApiRequest, query: UsageQuery) -> dict[str, list[str] | None]:
    return {
        "project_id": query.project_ids,
        "api_key_id": query.api_key_ids,
        "model": None if query.models is None else _with_aliases(resource(request, Catalogue), query.models),
    }


def _span(query: CostsQuery | UsageQuery, width: Width, limit: int, *, whole: bool) -> Span:
    same = msgspec.structs.replace(query, page=None, limit=1)
    return span(
        start=query.start_time,
        end=query.end_time,
        now=int(time.time()),
        width=width,
        limit=limit,
        page=query.page,
        query=msgspec.json.encode(same),
        whole=whole,
    )


def _with_aliases(catalogue: Catalogue, names: Sequence[str]) -> list[str]:
    """The names and all aliases of the same base models, since a call is recorded under the name that it used."""
    every = set(names)
    for name in names:
        base = catalogue.find(name)
        if base is not None:
            every |= {base.name, *base.aliases}
    return sorted(every)


ADMIN_ROUTES = [get_costs, get_completions, get_fine_tuning, get_other_usage]
