"""The wire types of upstream accounts. Requests contain the credential; responses never do."""

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, UnsetType

from service.database.tables import UpstreamAccount
from service.http.wire_types import RequestModel, unix
from service.states import UpstreamKind, UpstreamProvider
from service.upstreams.capabilities import Method, provider_at
from service.upstreams.queries import display_name

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=128, pattern=r"^[^\x00-\x1f\x7f]*\Z")]
BaseUrl = Annotated[str, msgspec.Meta(min_length=1, max_length=2048)]
Credential = Annotated[str, msgspec.Meta(min_length=8, max_length=1024, pattern=r"^[!-~]*\Z")]
ApiVersion = Annotated[str, msgspec.Meta(min_length=1, max_length=40, pattern=r"^[0-9A-Za-z.-]*\Z")]
ModelName = Annotated[str, msgspec.Meta(min_length=1, max_length=256, pattern=r"^[!-~]*\Z")]
Models = Annotated[list[ModelName], msgspec.Meta(min_length=1, max_length=200)]
Methods = Annotated[list[Method], msgspec.Meta(min_length=1, max_length=3)]
Deployments = Annotated[dict[ModelName, ModelName], msgspec.Meta(max_length=500)]
WebhookSecret = Annotated[str, msgspec.Meta(pattern=r"^whsec_[A-Za-z0-9+/]{32,128}={0,2}\Z")]
PerMinute = Annotated[int, msgspec.Meta(ge=10, le=1_000_000)]
Slots = Annotated[int, msgspec.Meta(ge=1, le=100_000)]


class CreateUpstream(RequestModel, frozen=True, kw_only=True):
    """A new account. `models` are names or patterns (`gpt-4o*`), null for all; `deployments` maps a model's name to
    the deployment that serves it. `polls_per_minute` bounds the requests of polling; with `webhook_secret` the upstream
    signs its webhooks to `/v1/upstreams/{id}/events`."""

    name: Name
    kind: UpstreamKind
    base_url: BaseUrl
    credential: Credential
    api_version: ApiVersion | None = None
    models: Models | None = None
    methods: Methods | None = None
    deployments: Deployments | None = None
    max_active_jobs: Slots = 100
    polls_per_minute: PerMinute | None = None
    webhook_secret: WebhookSecret | None = None
    provider: UpstreamProvider | None = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}(name={self.name!r}, kind={self.kind!r})"


class CreateSharedUpstream(CreateUpstream, frozen=True, kw_only=True):
    """A new shared account, for which an administrator also decides whether its use is billed to projects."""

    billed: bool = True


class UpdateUpstream(RequestModel, frozen=True, kw_only=True):
    """The fields to change. `drained` stops new jobs or resumes them; `held: false` ends a cool-down at once.

    Another `base_url` requires the credential again, so that a stored one cannot be sent to another address.
    """

    name: Name | UnsetType = UNSET
    base_url: BaseUrl | UnsetType = UNSET
    credential: Credential | UnsetType = UNSET
    api_version: ApiVersion | UnsetType | None = UNSET
    models: Models | UnsetType | None = UNSET
    methods: Methods | UnsetType | None = UNSET
    deployments: Deployments | UnsetType | None = UNSET
    max_active_jobs: Slots | UnsetType = UNSET
    polls_per_minute: PerMinute | UnsetType | None = UNSET
    webhook_secret: WebhookSecret | UnsetType | None = UNSET
    provider: UpstreamProvider | UnsetType | None = UNSET
    drained: bool | UnsetType = UNSET
    held: Literal[False] | UnsetType = UNSET

    def __repr__(self) -> str:
        changed = [name for name in self.__struct_fields__ if getattr(self, name) is not UNSET]
        return f"{type(self).__name__}({', '.join(changed)})"


class UpdateSharedUpstream(UpdateUpstream, frozen=True, kw_only=True):
    """The fields that an administrator can change."""

    billed: bool | UnsetType = UNSET


class UpstreamHealth(msgspec.Struct, frozen=True, kw_only=True):
    """The account's health: `ok`, `failing` (the last call failed), or `unknown` (no call yet). `last_error` is the
    kind of the last error: `auth`, `quota`, `rate_limit` or `away` (no response). Until `held_until` the account cools
    down and takes no new work."""

    status: Literal["ok", "failing", "unknown"]
    last_success_at: int | None
    last_error_at: int | None
    last_error: str | None
    held_until: int | None
    held_reason: str | None


class UpstreamObject(msgspec.Struct, frozen=True, kw_only=True):
    """An upstream account. `project_id` is null for a shared one."""

    id: str
    object: Literal["upstream"] = "upstream"
    created_at: int
    updated_at: int
    name: str
    kind: UpstreamKind
    base_url: str
    api_version: str | None
    credential: Literal["stored", "environment"]
    credential_set_at: int | None
    project_id: str | None
    models: list[str] | None
    methods: list[str] | None
    deployments: dict[str, str] | None
    max_active_jobs: int
    active_jobs: int
    polls_per_minute: int | None
    webhook_secret: Literal["stored"] | None
    provider: str
    billed: bool
    drained: bool
    health: UpstreamHealth


class UsableUpstream(msgspec.Struct, frozen=True, kw_only=True):
    """An upstream account that a project may use: its name, what it serves, and its state.

    An account that is `drained`, or `cooling_down` until `available_at`, takes no new jobs. For `failing` the last call
    failed.
    """

    id: str
    object: Literal["project.upstream"] = "project.upstream"
    name: str
    shared: bool
    kind: UpstreamKind
    provider: str
    models: list[str] | None
    methods: list[str] | None
    state: Literal["ready", "failing", "cooling_down", "drained"]
    available_at: int | None


class UpstreamDeleted(msgspec.Struct, frozen=True, kw_only=True):
    """The response to a deletion."""

    id: str
    object: Literal["upstream.deleted"] = "upstream.deleted"
    deleted: bool = True


def show_upstream(row: UpstreamAccount, active_jobs: int, now: float) -> UpstreamObject:
    """An account's row as the API shows it; `now` in Unix seconds decides whether a cool-down is over."""
    return UpstreamObject(
        id=row.id,
        created_at=unix(row.created_at),
        updated_at=unix(row.updated_at),
        name=display_name(row),
        kind=row.kind,
        base_url=row.base_url,
        api_version=row.api_version,
        credential="environment" if row.credential_sealed is None else "stored",
        credential_set_at=unix(row.credential_set_at) if row.credential_set_at else None,
        project_id=row.project_id,
        models=row.models,
        methods=row.methods,
        deployments=row.deployments,
        max_active_jobs=row.max_active_jobs,
        active_jobs=active_jobs,
        polls_per_minute=row.polls_per_minute,
        webhook_secret="stored" if row.webhook_secret_sealed is not None else None,
        provider=provider_at(row),
        billed=row.billed,
        drained=row.drained_at is not None,
        health=_health(row, now),
    )


def show_usable(row: UpstreamAccount, now: float) -> UsableUpstream:
    """An account's row as a project that may use it sees it; `now` in Unix seconds."""
    health = _health(row, now)
    state: Literal["ready", "failing", "cooling_down", "drained"] = "ready"
    if row.drained_at is not None:
        state = "drained"
    elif health.held_until is not None:
        state = "cooling_down"
    elif health.status == "failing":
        state = "failing"
    return UsableUpstream(
        id=row.id,
        name=display_name(row),
        shared=row.project_id is None,
        kind=row.kind,
        provider=provider_at(row),
        models=row.models,
        methods=row.methods,
        state=state,
        available_at=health.held_until,
    )


def _health(row: UpstreamAccount, now: float) -> UpstreamHealth:
    cooling_down = row.cool_down_until is not None and row.cool_down_until.timestamp() > now
    status: Literal["ok", "failing", "unknown"] = "unknown"
    if row.last_error_at is not None and (row.last_success_at is None or row.last_success_at < row.last_error_at):
        status = "failing"
    elif row.last_success_at is not None:
        status = "ok"
    return UpstreamHealth(
        status=status,
        last_success_at=unix(row.last_success_at) if row.last_success_at else None,
        last_error_at=unix(row.last_error_at) if row.last_error_at else None,
        last_error=row.last_error_kind,
        held_until=unix(row.cool_down_until) if cooling_down and row.cool_down_until else None,
        held_reason=row.cool_down_reason if cooling_down else None,
    )
