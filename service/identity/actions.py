"""Administrators' actions on projects, service accounts and keys. Each runs in its caller's transaction.

Every action writes its entry of the audit log. A revoked key stops working within a second of the commit, in every
process: `authentication` caches a key's row for less than that.
"""

import datetime as dt

from msgspec import UNSET
from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from service.database.advisory_locks import ADMIN_KEYS
from service.database.tables import ApiKey, Project, ServiceAccount
from service.errors import Conflict, InvalidRequest
from service.identity import audit
from service.identity.audit import Actor
from service.identity.key_lookup import is_valid
from service.identity.keys import fingerprint, new_key, redacted
from service.identity.queries import (
    KeyWithOwner,
    check_active,
    get_account,
    get_active_project,
    get_admin_key,
    get_key,
    get_project,
)
from service.identity.schemas import (
    CreateAdminKey,
    CreateKey,
    CreateProject,
    CreateServiceAccount,
    UpdateKey,
    UpdateProject,
    UpdateServiceAccount,
)
from service.ids import new_id
from service.states import KeyKind


async def create_project(session: AsyncSession, actor: Actor, request: CreateProject) -> Project:
    """Create a project, without keys. Raises `InvalidRequest` if the request says where its data is to lie."""
    _check_supported(request)
    row = Project(id=new_id("proj_"), name=request.name)
    session.add(row)
    await session.flush()
    await session.refresh(row)
    data = {"name": row.name, "title": row.name}
    await audit.record(session, actor, "project.created", project_id=row.id, resource_id=row.id, data=data)
    return row


async def update_project(session: AsyncSession, actor: Actor, project_id: str, request: UpdateProject) -> Project:
    """Rename a project. Raises `NotFound`, and `InvalidRequest` when it is archived."""
    _check_supported(request)
    row = await get_project(session, project_id, lock="exclusive")
    check_active(row)
    if request.name is not None:
        row.name = request.name
    data = {} if request.name is None else {"title": request.name}
    await audit.record(session, actor, "project.updated", project_id=row.id, resource_id=row.id, data=data)
    return row


async def create_account(
    session: AsyncSession, actor: Actor, project_id: str, request: CreateServiceAccount
) -> tuple[ServiceAccount, ApiKey | None, str]:
    """Create a service account; returns it with its first key and that key's value.

    With `create_service_account_only` it gets neither a key nor a role: the key is None, and the value empty. Raises
    `NotFound`, and `InvalidRequest` when the project is archived.
    """
    account_only = bool(request.create_service_account_only)
    if account_only and request.expires_in_seconds is not None:
        raise InvalidRequest(
            "'expires_in_seconds' is for the key, and 'create_service_account_only' creates none. Send one of the two.",
            param="expires_in_seconds",
            code="conflicting_parameters",
        )
    await get_active_project(session, project_id)
    row = ServiceAccount(
        id=new_id("svc_acct_"), project_id=project_id, name=request.name, role="none" if account_only else "member"
    )
    session.add(row)
    await session.flush()
    await session.refresh(row)
    data = {"name": row.name, "role": row.role}
    await audit.record(session, actor, "service_account.created", project_id=project_id, resource_id=row.id, data=data)
    if account_only:
        return row, None, ""
    key = CreateKey(name=request.name, expires_in_seconds=request.expires_in_seconds)
    return row, *await _new_project_key(session, actor, row, key)


async def update_account(
    session: AsyncSession, actor: Actor, project_id: str, account_id: str, request: UpdateServiceAccount
) -> ServiceAccount:
    """Change a service account's name or role. Raises `NotFound`, and `InvalidRequest` in an archived project."""
    await get_active_project(session, project_id)
    row = await get_account(session, project_id, account_id, lock=True)
    data = {}
    if request.name is not UNSET:
        row.name = data["name"] = request.name
    if request.role is not UNSET:
        row.role = data["role"] = request.role
    await audit.record(session, actor, "service_account.updated", project_id=project_id, resource_id=row.id, data=data)
    return row


async def delete_account(session: AsyncSession, actor: Actor, project_id: str, account_id: str) -> None:
    """Delete a service account and revoke its keys, each with its own audit entry. Raises `NotFound`."""
    await get_project(session, project_id, lock="shared")
    row = await get_account(session, project_id, account_id, lock=True)
    row.deleted_at = func.now()
    revoked = await session.scalars(
        update(ApiKey)
        .where(ApiKey.project_id == project_id, ApiKey.service_account_id == row.id, ApiKey.revoked_at.is_(None))
        .values(revoked_at=func.now())
        .returning(ApiKey.id)
    )
    await audit.record(session, actor, "service_account.deleted", project_id=project_id, resource_id=row.id)
    for key_id in revoked.all():
        await audit.record(session, actor, "api_key.deleted", project_id=project_id, resource_id=key_id)


async def create_key(
    session: AsyncSession, actor: Actor, project_id: str, account_id: str, request: CreateKey
) -> tuple[ApiKey, str]:
    """Create another key of a service account; returns it with its value.

    Raises `NotFound`, and `InvalidRequest` when the project is archived.
    """
    await get_active_project(session, project_id)
    return await _new_project_key(
        session, actor, await get_account(session, project_id, account_id, lock=True), request
    )


async def update_key(
    session: AsyncSession, actor: Actor, project_id: str, key_id: str, request: UpdateKey
) -> KeyWithOwner:
    """Change when a key expires, and its scopes.

    Raises `NotFound`, and `InvalidRequest` in an archived project and for an expired key, which stays expired.
    """
    await get_active_project(session, project_id)
    found = await get_key(session, project_id, key_id, lock=True)
    now = await _database_time(session)
    if found.row.expires_at is not None and found.row.expires_at <= now:
        raise InvalidRequest(
            f"The key {key_id} has expired. Create a new one.", param="api_key_id", code="api_key_expired"
        )
    data: dict[str, object] = {}
    if request.expires_in_seconds is not UNSET:
        data["expires_in_seconds"] = request.expires_in_seconds
        found.row.expires_at = now + dt.timedelta(seconds=request.expires_in_seconds)
    if request.scopes is not UNSET:
        data["scopes"] = found.row.scopes = list(request.scopes)
    await audit.record(session, actor, "api_key.updated", project_id=project_id, resource_id=key_id, data=data)
    return found


async def delete_key(session: AsyncSession, actor: Actor, project_id: str, key_id: str) -> None:
    """Revoke a project's key. Raises `NotFound`."""
    await get_project(session, project_id)
    found = await get_key(session, project_id, key_id, lock=True)
    found.row.revoked_at = func.now()
    await audit.record(session, actor, "api_key.deleted", project_id=project_id, resource_id=key_id)


async def create_admin_key(session: AsyncSession, actor: Actor, request: CreateAdminKey) -> tuple[ApiKey, str]:
    """Create an admin key; returns it with its value."""
    return await _new_key(
        session,
        actor,
        kind="admin",
        name=request.name,
        scopes=list(request.scopes),
        expires_in_seconds=request.expires_in_seconds,
    )


async def delete_admin_key(session: AsyncSession, actor: Actor, key_id: str) -> None:
    """Revoke an admin key. Raises `NotFound`, and `Conflict` when no other valid key could change anything.

    A read-only key does not count: nobody could create another key with it.
    """
    await session.execute(ADMIN_KEYS.take())
    row = await get_admin_key(session, key_id)
    other_keys = await session.scalar(
        select(func.count()).where(
            ApiKey.kind == "admin", ApiKey.id != key_id, is_valid(), func.cardinality(ApiKey.scopes) == 0
        )
    )
    if not other_keys:
        raise Conflict(
            "This is the last valid admin key that may change anything. Create another one first.",
            param="key_id",
            code="last_admin_key",
        )
    row.revoked_at = func.now()
    await audit.record(session, actor, "api_key.deleted", resource_id=key_id)


async def _new_project_key(
    session: AsyncSession, actor: Actor, account: ServiceAccount, request: CreateKey
) -> tuple[ApiKey, str]:
    return await _new_key(
        session,
        actor,
        kind="project",
        project_id=account.project_id,
        service_account_id=account.id,
        name=account.name if request.name is UNSET else request.name,
        scopes=list(request.scopes),
        expires_in_seconds=request.expires_in_seconds,
    )


async def _new_key(
    session: AsyncSession,
    actor: Actor,
    *,
    kind: KeyKind,
    name: str,
    scopes: list[str],
    expires_in_seconds: int | None,
    project_id: str | None = None,
    service_account_id: str | None = None,
) -> tuple[ApiKey, str]:
    value = new_key(kind)
    now = await _database_time(session)
    row = ApiKey(
        id=new_id("key_"),
        project_id=project_id,
        service_account_id=service_account_id,
        kind=kind,
        name=name,
        sha256=fingerprint(value),
        redacted_value=redacted(value),
        scopes=scopes,
        created_at=now,
        expires_at=None if expires_in_seconds is None else now + dt.timedelta(seconds=expires_in_seconds),
    )
    session.add(row)
    await session.flush()
    data = {"name": name, "scopes": scopes, "expires_in_seconds": expires_in_seconds, "kind": kind}
    await audit.record(session, actor, "api_key.created", project_id=project_id, resource_id=row.id, data=data)
    return row, value


async def _database_time(session: AsyncSession) -> dt.datetime:
    now: dt.datetime | None = await session.scalar(select(func.clock_timestamp()))
    if now is None:
        raise RuntimeError("The database returned no time.")
    return now


def _check_supported(request: CreateProject | UpdateProject) -> None:
    for name in ("external_key_id", "geography", "residency"):
        if getattr(request, name, None) is not None:
            raise InvalidRequest(
                f"'{name}' is not offered: data is stored where this gateway's database and storage are. Leave it out.",
                param=name,
                code="unsupported_parameter",
            )
