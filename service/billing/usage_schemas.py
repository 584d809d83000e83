"""The wire types of costs and usage: queries, and pages of time buckets with a result for each group."""

from typing import Annotated, Literal

import msgspec

from service.billing.buckets import LATEST, Order, Width
from service.billing.prices import Amount
from service.http.wire_types import RequestModel

Moment = Annotated[int, msgspec.Meta(ge=0, le=LATEST)]
Since = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[1-9][0-9]{0,3}[mhdw]\Z",
        extra={"in_words": "minutes, hours, days or weeks until now, such as '90m', '24h', '7d' or '4w'"},
    ),
]
Names = Annotated[list[Annotated[str, msgspec.Meta(min_length=1, max_length=512)]], msgspec.Meta(max_length=100)]

MAX_DAYS = 180
"""The buckets on a page of costs (OpenAI API reference, "Costs")."""


class BucketsQuery(RequestModel, frozen=True, kw_only=True):
    """The range, order and page of every query. Times are Unix seconds.

    Tunegate's own are `since`, a length of time such as `24h`, `7d` or `4w` that ends with the current bucket, in place
    of `start_time`; `order`; and `empty_buckets`, with which buckets without results are left out.
    """

    start_time: Moment | None = None
    since: Since | None = None
    end_time: Moment | None = None
    order: Order = "asc"
    empty_buckets: bool = True
    page: str | None = None


class ProjectCostsQuery(BucketsQuery, frozen=True, kw_only=True):
    """The query of a project's costs. The buckets are whole days in UTC."""

    bucket_width: Literal["1d"] = "1d"
    group_by: list[Literal["line_item", "api_key_id", "model", "job_id"]] = msgspec.field(
        default_factory=list, name="group_by[]"
    )
    api_key_ids: Names | None = msgspec.field(default=None, name="api_key_ids[]")
    line_items: Names | None = msgspec.field(default=None, name="line_items[]")
    limit: Annotated[int, msgspec.Meta(ge=1, le=MAX_DAYS)] | None = None


class CostsQuery(BucketsQuery, frozen=True, kw_only=True):
    """The query of the organisation's costs. The buckets are whole days in UTC."""

    bucket_width: Literal["1d"] = "1d"
    group_by: list[Literal["project_id", "line_item", "api_key_id", "model", "job_id"]] = msgspec.field(
        default_factory=list, name="group_by[]"
    )
    project_ids: Names | None = msgspec.field(default=None, name="project_ids[]")
    api_key_ids: Names | None = msgspec.field(default=None, name="api_key_ids[]")
    line_items: Names | None = msgspec.field(default=None, name="line_items[]")
    limit: Annotated[int, msgspec.Meta(ge=1, le=MAX_DAYS)] | None = None


class ProjectUsageQuery(BucketsQuery, frozen=True, kw_only=True):
    """The query of a project's usage. The range cuts the first and the last bucket."""

    bucket_width: Width = "1d"
    group_by: list[Literal["api_key_id", "model"]] = msgspec.field(default_factory=list, name="group_by[]")
    api_key_ids: Names | None = msgspec.field(default=None, name="api_key_ids[]")
    models: Names | None = msgspec.field(default=None, name="models[]")
    limit: Annotated[int, msgspec.Meta(ge=1)] | None = None


class UsageQuery(BucketsQuery, frozen=True, kw_only=True):
    """The query of the organisation's usage. The range cuts the first and the last bucket."""

    bucket_width: Width = "1d"
    group_by: list[Literal["project_id", "api_key_id", "model"]] = msgspec.field(
        default_factory=list, name="group_by[]"
    )
    project_ids: Names | None = msgspec.field(default=None, name="project_ids[]")
    api_key_ids: Names | None = msgspec.field(default=None, name="api_key_ids[]")
    models: Names | None = msgspec.field(default=None, name="models[]")
    limit: Annotated[int, msgspec.Meta(ge=1)] | None = None


class CostResult(msgspec.Struct, frozen=True, kw_only=True):
    """The costs of a group. Fields that were not grouped by are null, and so are names of what is removed.

    The quantity of a line item `GPU-seconds MODEL` is in GPU-seconds, with OpenAI's unit `duration_seconds`.
    """

    object: Literal["organization.costs.result"] = "organization.costs.result"
    amount: Amount
    project_id: str | None = None
    project_name: str | None = None
    line_item: str | None = None
    api_key_id: str | None = None
    api_key_name: str | None = None
    model: str | None = None
    job_id: str | None = None
    quantity: float | None = None
    quantity_unit: Literal["tokens", "duration_seconds"] | None = None


class CompletionsResult(msgspec.Struct, frozen=True, kw_only=True):
    """The usage of a group. Fields that were not grouped by are null."""

    object: Literal["organization.usage.completions.result"] = "organization.usage.completions.result"
    input_tokens: int
    output_tokens: int
    num_model_requests: int
    project_id: str | None = None
    project_name: str | None = None
    api_key_id: str | None = None
    api_key_name: str | None = None
    model: str | None = None


class FineTuningResult(msgspec.Struct, frozen=True, kw_only=True):
    """The usage of a group: of the jobs that ended. Fields that were not grouped by are null."""

    object: Literal["organization.usage.fine_tuning.result"] = "organization.usage.fine_tuning.result"
    trained_tokens: int
    gpu_seconds: float
    num_jobs: int
    project_id: str | None = None
    project_name: str | None = None
    api_key_id: str | None = None
    api_key_name: str | None = None
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
    """Buckets in their order. Pass `next_page` as `page` for the next ones."""

    object: Literal["page"] = "page"
    data: list[CostBucket]
    has_more: bool
    next_page: str | None


class CompletionsPage(msgspec.Struct, frozen=True, kw_only=True):
    """Buckets in their order. Pass `next_page` as `page` for the next ones."""

    object: Literal["page"] = "page"
    data: list[CompletionsBucket]
    has_more: bool
    next_page: str | None


class FineTuningPage(msgspec.Struct, frozen=True, kw_only=True):
    """Buckets in their order. Pass `next_page` as `page` for the next ones."""

    object: Literal["page"] = "page"
    data: list[FineTuningBucket]
    has_more: bool
    next_page: str | None
