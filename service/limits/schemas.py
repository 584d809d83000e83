"""Request and response structs of limits; rate limits have the form of the SDK's `ProjectRateLimit`."""

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, UnsetType

from service.billing.prices import Amount
from service.http.wire_types import RequestModel

ALL_MODELS = "*"
ID_PREFIX = "rl-"
DEFAULT_TOKENS = 10_000_000

Count = Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]
Bytes = Annotated[int, msgspec.Meta(ge=0, le=10**15)]
FileBytes = Annotated[int, msgspec.Meta(ge=1, le=10**15)]
Tokens = Annotated[int, msgspec.Meta(ge=0, le=10**15)]
PerMinute = Annotated[int, msgspec.Meta(ge=1, le=1_000_000_000)]


class UpdateLimits(RequestModel, frozen=True, kw_only=True):
    """Given limits are set, null removes a limit, omitted ones stay unchanged."""

    max_active_jobs: Count | UnsetType | None = UNSET
    max_queued_jobs: Count | UnsetType | None = UNSET
    max_storage_bytes: Bytes | UnsetType | None = UNSET
    max_file_bytes: FileBytes | UnsetType | None = UNSET
    max_training_tokens_per_month: Tokens | UnsetType | None = UNSET
    max_requests_per_key_per_1_minute: PerMinute | UnsetType | None = UNSET


class LimitsUsage(msgspec.Struct, frozen=True, kw_only=True):
    """Current usage. `training_tokens` and `spend` are what is reserved and used in this UTC month."""

    active_jobs: int
    queued_jobs: int
    storage_bytes: int
    training_tokens: int
    spend: Amount


class LimitsObject(msgspec.Struct, frozen=True, kw_only=True):
    """A project's limits; null means no limit. `spend_limit`, for a month, is set at its own address."""

    object: Literal["project.limits"] = "project.limits"
    project_id: str
    max_active_jobs: int | None
    max_queued_jobs: int | None
    max_storage_bytes: int | None
    max_file_bytes: int | None
    max_training_tokens_per_month: int | None
    max_requests_per_key_per_1_minute: int | None
    spend_limit: Amount | None
    usage: LimitsUsage


class ListRateLimits(RequestModel, frozen=True, kw_only=True):
    """The query of a project's rate limits; `after` or `before` is an id."""

    after: str | None = None
    before: str | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=100)] = 100


class UpdateRateLimit(RequestModel, frozen=True, kw_only=True):
    """Given values are set, omitted ones stay unchanged."""

    max_requests_per_1_minute: PerMinute | UnsetType = UNSET
    max_tokens_per_1_minute: PerMinute | UnsetType = UNSET


class RateLimitObject(msgspec.Struct, frozen=True, kw_only=True):
    """A rate limit: of all requests of a project (`model` is `*`), or of its inference with a model."""

    id: str
    object: Literal["project.rate_limit"] = "project.rate_limit"
    model: str
    max_requests_per_1_minute: int
    max_tokens_per_1_minute: int
