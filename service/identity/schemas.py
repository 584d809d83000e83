"""Projects, service accounts and keys on the wire, as the official SDK's `types.admin.organization` has them."""

import datetime as dt
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, UnsetType

from service.database.tables import ApiKey, Project, ServiceAccount
from service.http.wire_types import PageQuery, RequestModel, unix
from service.identity.callers import Scope
from service.states import ProjectStatus, ServiceAccountRole

MAX_KEY_SECONDS = 10 * 366 * 24 * 3600
"""Ten years. A key that should last longer is one that does not expire."""

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=256, pattern=r"^[^\x00-\x1f\x7f]*\Z")]
KeySeconds = Annotated[int, msgspec.Meta(ge=1, le=MAX_KEY_SECONDS)]
Scopes = Annotated[list[Scope], msgspec.Meta(max_length=1)]


class CreateProject(RequestModel, frozen=True, kw_only=True):
    """A new project. OpenAI's three fields for where its data lies are accepted as null only."""

    name: Name
    external_key_id: str | None = None
    geography: str | None = None
    residency: str | None = None


class UpdateProject(RequestModel, frozen=True, kw_only=True):
    """A project's new name; null leaves it unchanged."""

    name: Name | None = None
    external_key_id: str | None = None
    geography: str | None = None


class ListProjects(PageQuery, frozen=True, kw_only=True):
    """`include_archived` lists archived projects as well."""

    include_archived: bool = False


class ProjectObject(msgspec.Struct, frozen=True, kw_only=True):
    """A project."""

    id: str
    object: Literal["organization.project"] = "organization.project"
    name: str
    created_at: int
    archived_at: int | None
    status: ProjectStatus
    external_key_id: None = None
    residency: None = None


class CreateServiceAccount(RequestModel, frozen=True, kw_only=True):
    """A new service account, with its first key unless `create_service_account_only`."""

    name: Name
    create_service_account_only: bool | None = None
    expires_in_seconds: KeySeconds | None = None


class UpdateServiceAccount(RequestModel, frozen=True, kw_only=True):
    """A service account's new name or role. With the role `none` its keys are refused."""

    name: Name | UnsetType = UNSET
    role: ServiceAccountRole | UnsetType = UNSET


class ServiceAccountObject(msgspec.Struct, frozen=True, kw_only=True):
    """A service account."""

    id: str
    object: Literal["organization.project.service_account"] = "organization.project.service_account"
    name: str
    role: ServiceAccountRole
    created_at: int


class NewKey(msgspec.Struct, frozen=True, kw_only=True):
    """A new key with its value, which no other response shows."""

    id: str
    object: Literal["organization.project.service_account.api_key"] = "organization.project.service_account.api_key"
    name: str
    created_at: int
    expires_at: int | None
    scopes: list[str]
    value: str


class ServiceAccountCreated(msgspec.Struct, frozen=True, kw_only=True):
    """A new service account and its first key, if it has one."""

    id: str
    object: Literal["organization.project.service_account"] = "organization.project.service_account"
    name: str
    role: ServiceAccountRole
    created_at: int
    api_key: NewKey | None


class ServiceAccountDeleted(msgspec.Struct, frozen=True, kw_only=True):
    """The response to a deletion."""

    id: str
    object: Literal["organization.project.service_account.deleted"] = "organization.project.service_account.deleted"
    deleted: bool = True


class CreateKey(RequestModel, frozen=True, kw_only=True):
    """Another key of a service account. The scopes `["api.all.read"]` make it read-only; no scopes allow everything."""

    name: Name | UnsetType = UNSET
    expires_in_seconds: KeySeconds | None = None
    scopes: Scopes = msgspec.field(default_factory=list)


class UpdateKey(RequestModel, frozen=True, kw_only=True):
    """A key's new expiry, counted from now, and its new scopes. Omitted fields stay unchanged."""

    expires_in_seconds: KeySeconds | UnsetType = UNSET
    scopes: Scopes | UnsetType = UNSET


class ListKeys(PageQuery, frozen=True, kw_only=True):
    """`owner_project_access`: `active` for keys whose owner may use the project, `inactive` for the others."""

    owner_project_access: Literal["active", "inactive", "any"] = "any"


class OwningAccount(msgspec.Struct, frozen=True, kw_only=True):
    """The service account that a key belongs to."""

    id: str
    name: str
    role: str
    created_at: int


class KeyOwner(msgspec.Struct, frozen=True, kw_only=True):
    """The owner of a key. Keys created at the command line have none: all three fields are null."""

    type: Literal["service_account"] | None
    service_account: OwningAccount | None
    user: None = None


class KeyObject(msgspec.Struct, frozen=True, kw_only=True):
    """A project's key, without its value."""

    id: str
    object: Literal["organization.project.api_key"] = "organization.project.api_key"
    name: str
    redacted_value: str
    created_at: int
    last_used_at: int | None
    expires_at: int | None
    owner: KeyOwner
    owner_project_access: Literal["active", "inactive"]
    scopes: list[str]


class KeyDeleted(msgspec.Struct, frozen=True, kw_only=True):
    """The response to a deletion."""

    id: str
    object: Literal["organization.project.api_key.deleted"] = "organization.project.api_key.deleted"
    deleted: bool = True


class OwnProject(ProjectObject, frozen=True, kw_only=True):
    """The caller's project, with the key that called."""

    api_key: KeyObject


class CreateAdminKey(RequestModel, frozen=True, kw_only=True):
    """A new admin key. `scopes` is Tunegate's own: `["api.all.read"]` makes the key read-only."""

    name: Name
    expires_in_seconds: KeySeconds | None = None
    scopes: Scopes = msgspec.field(default_factory=list)


class ListAdminKeys(PageQuery, frozen=True, kw_only=True):
    """The order is that of their creation."""

    order: Literal["asc", "desc"] = "asc"


class AdminKeyOwner(msgspec.Struct, frozen=True, kw_only=True):
    """OpenAI's owner of an admin key is a user; there are no users here."""

    type: Literal["user"] = "user"
    object: Literal["organization.user"] = "organization.user"
    id: str | None = None
    name: str | None = None
    created_at: int | None = None
    role: Literal["owner"] = "owner"


class AdminKeyObject(msgspec.Struct, frozen=True, kw_only=True):
    """An admin key, without its value."""

    id: str
    object: Literal["organization.admin_api_key"] = "organization.admin_api_key"
    name: str
    redacted_value: str
    created_at: int
    last_used_at: int | None
    expires_at: int | None
    owner: AdminKeyOwner
    scopes: list[str]


class NewAdminKey(AdminKeyObject, frozen=True, kw_only=True):
    """A new admin key with its value, which no other response shows."""

    value: str


class AdminKeyDeleted(msgspec.Struct, frozen=True, kw_only=True):
    """The response to a deletion."""

    id: str
    object: Literal["organization.admin_api_key.deleted"] = "organization.admin_api_key.deleted"
    deleted: bool = True


def show_project(row: Project) -> ProjectObject:
    """The response for a project."""
    return ProjectObject(
        id=row.id,
        name=row.name,
        created_at=unix(row.created_at),
        archived_at=_unix_or_none(row.archived_at),
        status=row.status,
    )


def show_account(row: ServiceAccount) -> ServiceAccountObject:
    """The response for a service account."""
    return ServiceAccountObject(id=row.id, name=row.name, role=row.role, created_at=unix(row.created_at))


def show_created(account: ServiceAccount, key: NewKey | None) -> ServiceAccountCreated:
    """The response to creating a service account, with the value of its key."""
    shown = show_account(account)
    return ServiceAccountCreated(
        id=shown.id, name=shown.name, role=shown.role, created_at=shown.created_at, api_key=key
    )


def show_new_key(row: ApiKey, value: str) -> NewKey:
    """The response to creating a key, with its value."""
    return NewKey(
        id=row.id,
        name=row.name,
        created_at=unix(row.created_at),
        expires_at=_unix_or_none(row.expires_at),
        scopes=row.scopes,
        value=value,
    )


def show_key(row: ApiKey, account: ServiceAccount | None, *, access: bool) -> KeyObject:
    """The response for a project's key. `access`: whether its owner may use the project now."""
    owner = None
    if account is not None:
        owner = OwningAccount(id=account.id, name=account.name, role=account.role, created_at=unix(account.created_at))
    return KeyObject(
        id=row.id,
        name=row.name,
        redacted_value=row.redacted_value,
        created_at=unix(row.created_at),
        last_used_at=_unix_or_none(row.last_used_at),
        expires_at=_unix_or_none(row.expires_at),
        owner=KeyOwner(type="service_account" if owner else None, service_account=owner),
        owner_project_access="active" if access else "inactive",
        scopes=row.scopes,
    )


def show_own_project(project: Project, key: KeyObject) -> OwnProject:
    """The response for the caller's project."""
    shown = show_project(project)
    return OwnProject(
        **{name: getattr(shown, name) for name in shown.__struct_fields__},
        api_key=key,
    )


def show_admin_key(row: ApiKey) -> AdminKeyObject:
    """The response for an admin key."""
    return AdminKeyObject(
        id=row.id,
        name=row.name,
        redacted_value=row.redacted_value,
        created_at=unix(row.created_at),
        last_used_at=_unix_or_none(row.last_used_at),
        expires_at=_unix_or_none(row.expires_at),
        owner=AdminKeyOwner(),
        scopes=row.scopes,
    )


def show_new_admin_key(row: ApiKey, value: str) -> NewAdminKey:
    """The response to creating an admin key, with its value."""
    shown = show_admin_key(row)
    return NewAdminKey(**{name: getattr(shown, name) for name in shown.__struct_fields__}, value=value)


def _unix_or_none(moment: dt.datetime | None) -> int | None:
    return None if moment is None else unix(moment)
