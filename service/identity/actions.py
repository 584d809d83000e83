"""What administrators can do to projects, service accounts and keys. Each runs in its caller's transaction.

Every action writes its entry of the audit log. Keys stop working within a second of the commit, in every process:
that is how long `authentication` remembers what it has looked up.
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
from service.identity.authentication import works
from service.identity.keys import fingerprint, hint, new_key
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


async def create_project(session: AsyncSession, actor: Actor, wanted: CreateProject) -> Project:
    """A new project, without keys. Raises `InvalidRequest` for a place to keep its data in, which is not offered."""
    _check_offered(wanted)
    row = Project(id=new_id("proj_"), name=wanted.name)
    session.add(row)
    await session.flush()
    await session.refresh(row)
    data = {"name": row.name, "title": row.name}
    await audit.record(session, actor, "project.created", project_id=row.id, resource_id=row.id, data=data)
    return row


async def update_project(session: AsyncSession, actor: Actor, project_id: str, wanted: UpdateProject) -> Project:
    """Rename a project. Raises `NotFound`, and `InvalidRequest` when it is archived."""
    _check_offered(wanted)
    row = await get_project(session, project_id, lock="exclusive")
    check_active(row)
    if wanted.name is not None:
        row.name = wanted.name
    data = {} if wanted.name is None else {"title": wanted.name}
    await audit.record(session, actor, "project.updated", project_id=row.id, resource_id=row.id, data=data)
    return row


async def create_account(
    session: AsyncSession, actor: Actor, project_id: str, wanted: CreateServiceAccount
) -> tuple[ServiceAccount, ApiKey | None, str]:
    """A service account, its first key and that key's value; neither a key nor a role if only the account is wanted.

    Raises `NotFound`, and `InvalidRequest` when the project is archived.
    """
    alone = bool(wanted.create_service_account_only)
    if alone and wanted.expires_in_seconds is not None:
        raise InvalidRequest(
            "'expires_in_seconds' is the key's, and 'create_service_account_only' makes none. Give one of them.",
            param="expires_in_seconds",
            code="conflicting_parameters",
        )
    await get_active_project(session, project_id)
    row = ServiceAccount(
        id=new_id("svc_acct_"), project_id=project_id, name=wanted.name, role="none" if alone else "member"
    )
    session.add(row)
    await session.flush()
    await session.refresh(row)
    data = {"name": row.name, "role": row.role}
    await audit.record(session, actor, "service_account.created", project_id=project_id, resource_id=row.id, data=data)
    if alone:
        return row, None, ""
    key = CreateKey(name=wanted.name, expires_in_seconds=wanted.expires_in_seconds)
    return row, *await _new_project_key(session, actor, row, key)


async def update_account(
    session: AsyncSession, actor: Actor, project_id: str, account_id: str, wanted: UpdateServiceAccount
) -> ServiceAccount:
    """Change a service account's name or role. Raises `NotFound`, and `InvalidRequest` in an archived project."""
    await get_active_project(session, project_id)
    row = await get_account(session, project_id, account_id, lock=True)
    data = {}
    if wanted.name is not UNSET:
        row.name = data["name"] = wanted.name
    if wanted.role is not UNSET:
        row.role = data["role"] = wanted.role
    await audit.record(session, actor, "service_account.updated", project_id=project_id, resource_id=row.id, data=data)
    return row


async def delete_account(session: AsyncSession, actor: Actor, project_id: str, account_id: str) -> None:
    """Delete a service account and revoke its keys, each with an entry of its own. Raises `NotFound`."""
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
    session: AsyncSession, actor: Actor, project_id: str, account_id: str, wanted: CreateKey
) -> tuple[ApiKey, str]:
    """Another key of a service account, and its value. Raises `NotFound`, and `InvalidRequest` when it is archived."""
    await get_active_project(session, project_id)
    return await _new_project_key(session, actor, await get_account(session, project_id, account_id, lock=True), wanted)


async def update_key(
    session: AsyncSession, actor: Actor, project_id: str, key_id: str, wanted: UpdateKey
) -> KeyWithOwner:
    """Change when a key ends, and what it may do.

    Raises `NotFound`, and `InvalidRequest` in an archived project and for an expired key, which stays expired.
    """
    await get_active_project(session, project_id)
    found = await get_key(session, project_id, key_id, lock=True)
    moment = await _clock(session)
    if found.row.expires_at is not None and found.row.expires_at <= moment:
        raise InvalidRequest(
            f"The key {key_id} has expired. Make a new one.", param="api_key_id", code="api_key_expired"
        )
    data: dict[str, object] = {}
    if wanted.expires_in_seconds is not UNSET:
        data["expires_in_seconds"] = wanted.expires_in_seconds
        found.row.expires_at = moment + dt.timedelta(seconds=wanted.expires_in_seconds)
    if wanted.scopes is not UNSET:
        data["scopes"] = found.row.scopes = list(wanted.scopes)
    await audit.record(session, actor, "api_key.updated", project_id=project_id, resource_id=key_id, data=data)
    return found


async def delete_key(session: AsyncSession, actor: Actor, project_id: str, key_id: str) -> None:
    """Revoke a project's key. Raises `NotFound`."""
    await get_project(session, project_id)
    found = await get_key(session, project_id, key_id, lock=True)
    found.row.revoked_at = func.now()
    await audit.record(session, actor, "api_key.deleted", project_id=project_id, resource_id=key_id)


async def create_admin_key(session: AsyncSession, actor: Actor, wanted: CreateAdminKey) -> tuple[ApiKey, str]:
    """A new admin key and its value."""
    return await _new_key(
        session,
        actor,
        kind="admin",
        name=wanted.name,
        scopes=list(wanted.scopes),
        expires_in_seconds=wanted.expires_in_seconds,
    )


async def delete_admin_key(session: AsyncSession, actor: Actor, key_id: str) -> None:
    """Revoke an admin key. Raises `NotFound`, and `Conflict` when no other key would be left that may change things.

    A key that only reads does not count: nobody could make another one with it.
    """
    await session.execute(ADMIN_KEYS.take())
    row = await get_admin_key(session, key_id)
    others = await session.scalar(
        select(func.count()).where(
            ApiKey.kind == "admin", ApiKey.id != key_id, works(), func.cardinality(ApiKey.scopes) == 0
        )
    )
    if not others:
        raise Conflict(
            "This is the last admin key that works and may change things. Make another one first.",
            param="key_id",
            code="last_admin_key",
        )
    row.revoked_at = func.now()
    await audit.record(session, actor, "api_key.deleted", resource_id=key_id)


async def _new_project_key(
    session: AsyncSession, actor: Actor, account: ServiceAccount, wanted: CreateKey
) -> tuple[ApiKey, str]:
    return await _new_key(
        session,
        actor,
        kind="project",
        project_id=account.project_id,
        service_account_id=account.id,
        name=account.name if wanted.name is UNSET else wanted.name,
        scopes=list(wanted.scopes),
        expires_in_seconds=wanted.expires_in_seconds,
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
    moment = await _clock(session)
    row = ApiKey(
        id=new_id("key_"),
        project_id=project_id,
        service_account_id=service_account_id,
        kind=kind,
        name=name,
        sha256=fingerprint(value),
        hint=hint(value),
        scopes=scopes,
        created_at=moment,
        expires_at=None if expires_in_seconds is None else moment + dt.timedelta(seconds=expires_in_seconds),
    )
    session.add(row)
    await session.flush()
    data = {"name": name, "scopes": scopes, "expires_in_seconds": expires_in_seconds, "kind": kind}
    await audit.record(session, actor, "api_key.created", project_id=project_id, resource_id=row.id, data=data)
    return row, value


async def _clock(session: AsyncSession) -> dt.datetime:
    moment: dt.datetime | None = await session.scalar(select(func.clock_timestamp()))
    if moment is None:
        raise RuntimeError("The database does not tell the time.")
    return moment


def _check_offered(wanted: CreateProject | UpdateProject) -> None:
    for name in ("external_key_id", "geography", "residency"):
        if getattr(wanted, name, None) is not None:
            raise InvalidRequest(
                f"'{name}' is not offered: data lies where this gateway's database and storage are. Leave it out.",
                param=name,
                code="unsupported_parameter",
            )
