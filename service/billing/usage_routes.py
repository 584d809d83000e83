"""`/v1/organization/costs`, `/v1/organization/usage/completions` and, ours, `/v1/organization/usage/fine_tuning`."""

import time
from collections.abc import Sequence
from typing import Annotated, Literal, NoReturn

import msgspec
from litestar import get
from litestar.params import FromPath

from service.billing import usage
from service.billing.buckets import LATEST, SECONDS, Span, Width, span
from service.billing.ledger import GPU_LINE_ITEM
from service.billing.prices import Amount, amount_of
from service.catalogue.base_models import Catalogue
from service.database.engine import Database
from service.errors import InvalidRequest, NotFound
from service.http.bodies import read_query
from service.http.operation import operation
from service.http.resources import ApiRequest, resource
from service.http.wire_types import RequestModel

Moment = Annotated[int, msgspec.Meta(ge=0, le=LATEST)]
Names = Annotated[list[Annotated[str, msgspec.Meta(min_length=1, max_length=512)]], msgspec.Meta(max_length=100)]
LIMITS: dict[Width, tuple[int, int]] = {"1d": (7, 31), "1h": (24, 168), "1m": (60, 1440)}
"""The default and the maximum number of buckets on a page of usage (OpenAI API reference, "Completions usage")."""


class CostsQuery(RequestModel, frozen=True, kw_only=True):
    """The query of costs. Times are Unix seconds; the buckets are whole days in UTC."""

    start_time: Moment
    end_time: Moment | None = None
    bucket_width: Literal["1d"] = "1d"
    group_by: list[Literal["project_id", "line_item", "api_key_id"]] = msgspec.field(
        default_factory=list, name="group_by[]"
    )
    project_ids: Names | None = msgspec.field(default=None, name="project_ids[]")
    api_key_ids: Names | None = msgspec.field(default=None, name="api_key_ids[]")
    line_items: Names | None = msgspec.field(default=None, name="line_items[]")
    limit: Annotated[int, msgspec.Meta(ge=1, le=180)] = 7
    page: str | None = None


class UsageQuery(RequestModel, frozen=True, kw_only=True):
    """The query of usage. Times are Unix seconds; the range cuts the first and the last bucket."""

    start_time: Moment
    end_time: Moment | None = None
    bucket_width: Width = "1d"
    group_by: list[Literal["project_id", "api_key_id", "model"]] = msgspec.field(
        default_factory=list, name="group_by[]"
    )
    project_ids: Names | None = msgspec.field(default=None, name="project_ids[]")
    api_key_ids: Names | None = msgspec.field(default=None, name="api_key_ids[]")
    models: Names | None = msgspec.field(default=None, name="models[]")
    limit: Annotated[int, msgspec.Meta(ge=1)] | None = None
    page: str | None = None


class CostResult(msgspec.Struct, frozen=True, kw_only=True):
    """The costs of a group. Fields that were not grouped by are null.

    The quantity of a line item `GPU-seconds MODEL` is in GPU-seconds, with OpenAI's unit `duration_seconds`.
    """

    object: Literal["organization.costs.result"] = "organization.costs.result"
    amount: Amount
    project_id: str | None = None
    line_item: str | None = None
    api_key_id: str | None = None
    quantity: float | None = None
    quantity_unit: Literal["tokens", "duration_seconds"] | None = None


class CompletionsResult(msgspec.Struct, frozen=True, kw_only=True):
    """The usage of a group. Fields that were not grouped by are null."""

    object: Literal["organization.usage.completions.result"] = "organization.usage.completions.result"
    input_tokens: int
    output_tokens: int
    num_model_requests: int
    project_id: str | None = None
    api_key_id: str | None = None
    model: str | None = None


class FineTuningResult(msgspec.Struct, frozen=True, kw_only=True):
    """The usage of a group: of the jobs that ended. Fields that were not grouped by are null."""

    object: Literal["organization.usage.fine_tuning.result"] = "organization.usage.fine_tuning.result"
    trained_tokens: int
    gpu_seconds: float
    num_jobs: int
    project_id: str | None = None
    api_key_id: str | None = None
    model: str | None = None


class CostBucket(msgspec.Struct, frozen=True, kw_only=True):
    """The costs of one day in UTC; `results` is empty if there are none."""

    object: Literal["bucket"] = "bucket"
    start_time: int
    end_time: int
    results: list[CostResult]


class CompletionsBucket(msgspec.Struct, frozen=True, kw_only=True):
    """One minute, hour or day. Its results are empty if it has no calls."""

    object: Literal["bucket"] = "bucket"
    start_time: int
    end_time: int
    results: list[CompletionsResult]


class FineTuningBucket(msgspec.Struct, frozen=True, kw_only=True):
    """One minute, hour or day. Its results are empty if no job ended in it."""

    object: Literal["bucket"] = "bucket"
    start_time: int
    end_time: int
    results: list[FineTuningResult]


class CostsPage(msgspec.Struct, frozen=True, kw_only=True):
    """Buckets, the earliest first. Pass `next_page` as `page` for the next ones."""

    object: Literal["page"] = "page"
    data: list[CostBucket]
    has_more: bool
    next_page: str | None


class CompletionsPage(msgspec.Struct, frozen=True, kw_only=True):
    """Buckets, the earliest first. Pass `next_page` as `page` for the next ones."""

    object: Literal["page"] = "page"
    data: list[CompletionsBucket]
    has_more: bool
    next_page: str | None


class FineTuningPage(msgspec.Struct, frozen=True, kw_only=True):
    """Buckets, the earliest first. Pass `next_page` as `page` for the next ones."""

    object: Literal["page"] = "page"
    data: list[FineTuningBucket]
    has_more: bool
    next_page: str | None


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
