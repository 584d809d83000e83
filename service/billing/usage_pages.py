"""Pages of costs and usage: which buckets a query covers, their sums, and the names of keys and projects.

A caller's transaction decides what is visible: an administrator's the organisation, a project's its own posts.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from service.billing import usage
from service.billing.buckets import SECONDS, Span, Width, length_of, span, start_of
from service.billing.ledger import GPU_LINE_ITEM
from service.billing.prices import amount_of
from service.billing.usage import Found, Selection
from service.billing.usage_schemas import (
    MAX_DAYS,
    BucketsQuery,
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
    ProjectCostsQuery,
    ProjectUsageQuery,
    UsageQuery,
)
from service.catalogue.base_models import Catalogue
from service.errors import InvalidRequest
from service.identity.queries import names_of_keys, names_of_projects

DEFAULT_DAYS = 7
LIMITS: dict[Width, tuple[int, int]] = {"1d": (7, 31), "1h": (24, 168), "1m": (60, 1440)}
"""The default and the maximum number of buckets on a page of usage (OpenAI API reference, "Completions usage")."""


async def costs_page(
    session: AsyncSession, query: CostsQuery | ProjectCostsQuery, project_ids: Sequence[str] | None
) -> CostsPage:
    """Costs by days in UTC, of these projects or of all. Raises `InvalidRequest`."""
    found = await usage.costs(
        session,
        _selection(
            query,
            (DEFAULT_DAYS, MAX_DAYS),
            whole=True,
            only={"project_id": project_ids, "api_key_id": query.api_key_ids, "line_item": query.line_items},
        ),
    )
    names = await _names(session, found)
    by_line = "line_item" in query.group_by
    return CostsPage(
        data=[
            CostBucket(
                start_time=bucket.begin,
                end_time=bucket.end,
                results=[_cost_result(cost, names, by_line=by_line) for cost in costs],
            )
            for bucket, costs in found.buckets
        ],
        has_more=found.next_page is not None,
        next_page=found.next_page,
    )


async def completions_page(
    session: AsyncSession,
    catalogue: Catalogue,
    query: UsageQuery | ProjectUsageQuery,
    project_ids: Sequence[str] | None,
) -> CompletionsPage:
    """The usage of inference of these projects or of all. Raises `InvalidRequest`."""
    found = await usage.completions(session, _usage_selection(query, catalogue, project_ids))
    names = await _names(session, found)
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
                        **names.add_to(each.group),
                    )
                    for each in used
                ],
            )
            for bucket, used in found.buckets
        ],
        has_more=found.next_page is not None,
        next_page=found.next_page,
    )


async def fine_tuning_page(
    session: AsyncSession,
    catalogue: Catalogue,
    query: UsageQuery | ProjectUsageQuery,
    project_ids: Sequence[str] | None,
) -> FineTuningPage:
    """The usage of training of these projects or of all. Raises `InvalidRequest`."""
    found = await usage.fine_tuning(session, _usage_selection(query, catalogue, project_ids))
    names = await _names(session, found)
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
                        **names.add_to(each.group),
                    )
                    for each in used
                ],
            )
            for bucket, used in found.buckets
        ],
        has_more=found.next_page is not None,
        next_page=found.next_page,
    )


class _Names(msgspec.Struct, frozen=True):
    keys: Mapping[str, str]
    projects: Mapping[str, str]

    def add_to(self, group: Mapping[str, Any]) -> dict[str, Any]:
        named = dict(group)
        if "api_key_id" in group:
            named["api_key_name"] = self.keys.get(group["api_key_id"])
        if "project_id" in group:
            named["project_name"] = self.projects.get(group["project_id"])
        return named


async def _names(session: AsyncSession, found: Found[Any]) -> _Names:
    def ids(field: str) -> set[str]:
        groups = (row.group for _, rows in found.buckets for row in rows)
        return {group[field] for group in groups if group.get(field) is not None}

    return _Names(await names_of_keys(session, ids("api_key_id")), await names_of_projects(session, ids("project_id")))


def _cost_result(cost: usage.Cost, names: _Names, *, by_line: bool) -> CostResult:
    quantity: float | None = None
    unit: Literal["tokens", "duration_seconds"] | None = None
    if by_line and str(cost.group["line_item"]).startswith(GPU_LINE_ITEM) and cost.gpu_seconds is not None:
        quantity, unit = round(cost.gpu_seconds, 3), "duration_seconds"
    elif by_line and cost.quantity is not None:
        quantity, unit = cost.quantity, "tokens"
    return CostResult(amount=amount_of(cost.micros), quantity=quantity, quantity_unit=unit, **names.add_to(cost.group))


def _usage_selection(
    query: UsageQuery | ProjectUsageQuery, catalogue: Catalogue, project_ids: Sequence[str] | None
) -> Selection:
    return _selection(
        query,
        LIMITS[query.bucket_width],
        whole=False,
        only={
            "project_id": project_ids,
            "api_key_id": query.api_key_ids,
            "model": None if query.models is None else _with_aliases(catalogue, query.models),
        },
    )


def _selection(
    query: CostsQuery | ProjectCostsQuery | UsageQuery | ProjectUsageQuery,
    limits: tuple[int, int],
    *,
    whole: bool,
    only: Mapping[str, Sequence[str] | None],
) -> Selection:
    default, maximum = limits
    now, seconds = int(time.time()), SECONDS[query.bucket_width]
    if query.since is not None:
        default = min(maximum, length_of(query.since) // seconds + 1)
    limit = default if query.limit is None else query.limit
    if limit > maximum:
        raise InvalidRequest(f"'limit' is at most {maximum} for buckets of {query.bucket_width}.", param="limit")
    return Selection(
        span=_span(query, query.bucket_width, limit if query.empty_buckets else maximum, now, whole=whole),
        seconds=seconds,
        limit=limit,
        empty_buckets=query.empty_buckets,
        group_by=query.group_by,
        only=only,
    )


def _span(query: BucketsQuery, width: Width, covered: int, now: int, *, whole: bool) -> Span:
    same = msgspec.structs.replace(query, page=None, limit=1)
    return span(
        start=_start(query, now=now, width=width),
        end=query.end_time,
        now=now,
        width=width,
        limit=covered,
        page=query.page,
        query=msgspec.json.encode(same),
        whole=whole,
        order=query.order,
    )


def _start(query: BucketsQuery, *, now: int, width: Width) -> int:
    if query.since is not None and query.start_time is not None:
        raise InvalidRequest("Send 'start_time' or 'since', not both.", param="since", code="conflicting_parameters")
    if query.since is not None:
        return start_of(query.since, now=now, width=width)
    if query.start_time is None:
        raise InvalidRequest(
            "Missing required parameter: 'start_time', in Unix seconds. Or send 'since', such as since=7d.",
            param="start_time",
            code="missing_required_parameter",
        )
    return query.start_time


def _with_aliases(catalogue: Catalogue, names: Sequence[str]) -> list[str]:
    """The names and all aliases of the same base models, since a call is recorded under the name that it used."""
    every = set(names)
    for name in names:
        base = catalogue.find(name)
        if base is not None:
            every |= {base.name, *base.aliases}
    return sorted(every)
