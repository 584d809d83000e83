"""Reads projects, service accounts and keys for the organisation's API."""

from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

from sqlalchemy import ARRAY, ColumnElement, Select, Text, and_, any_, cast, select
from sqlalchemy.ext.asyncio import AsyncSession

from service.database.tables import ApiKey, Project, ServiceAccount
from service.errors import InvalidRequest, NotFound, unknown_cursor
from service.http.wire_types import PageQuery
from service.identity.schemas import ListAdminKeys, ListKeys, ListProjects

Lock = Literal["none", "shared", "exclusive"]
"""`shared`: the row cannot change until the transaction ends, and many transactions may hold it; `exclusive`: for a
change, which waits until no transaction holds it shared."""


class KeyWithOwner(NamedTuple):
    """A project's key, the service account that owns it if one does, and whether the owner may use the project now."""

    row: ApiKey
    account: ServiceAccount | None
    access: bool


async def get_project(session: AsyncSession, project_id: str, *, lock: Lock = "none") -> Project:
    """The project, archived or not. Raises `NotFound`."""
    query = select(Project).where(Project.id == project_id)
    if lock != "none":
        query = query.with_for_update(read=lock == "shared", key_share=lock == "exclusive")
    row = (await session.scalars(query)).one_or_none()
    if row is None:
        raise NotFound(f"No such project: {project_id}", param="project_id", code="project_not_found")
    return row


async def get_active_project(session: AsyncSession, project_id: str) -> Project:
    """The project, which cannot be archived until the transaction ends.

    Raises `NotFound`, and `InvalidRequest` when it is archived.
    """
    row = await get_project(session, project_id, lock="shared")
    check_active(row)
    return row


def check_active(row: Project) -> None:
    """Raise `InvalidRequest` for a project that is archived or being deleted."""
    if row.status != "active":
        raise InvalidRequest(
            f"The project {row.id} is archived. Nothing in it can be created or changed.",
            param="project_id",
            code="project_archived",
        )


def check_not_deleted(row: Project) -> None:
    """Raise `InvalidRequest` for a project that is deleted or being deleted."""
    if row.status in ("deleting", "deleted"):
        raise InvalidRequest(
            f"The project {row.id} is deleted. Nothing can be stored in it.", param="project_id", code="project_deleted"
        )


async def list_projects(session: AsyncSession, query: ListProjects) -> Sequence[Project]:
    """Up to `limit + 1` projects, newest first. Raises `InvalidRequest` for an unknown cursor."""
    statement = select(Project)
    if not query.include_archived:
        statement = statement.where(Project.status == "active")
    if query.after is not None:
        if await session.scalar(select(Project.id).where(Project.id == query.after)) is None:
            raise unknown_cursor(query.after)
        statement = statement.where(Project.id < query.after)
    return (await session.scalars(statement.order_by(Project.id.desc()).limit(query.limit + 1))).all()


async def get_account(session: AsyncSession, project_id: str, account_id: str, *, lock: bool = False) -> ServiceAccount:
    """The project's service account. `lock` prevents changes until the transaction ends. Raises `NotFound`."""
    query = select(ServiceAccount).where(
        ServiceAccount.project_id == project_id, ServiceAccount.id == account_id, ServiceAccount.deleted_at.is_(None)
    )
    row = (await session.scalars(query.with_for_update() if lock else query)).one_or_none()
    if row is None:
        raise NotFound(
            f"No such service account in this project: {account_id}",
            param="service_account_id",
            code="service_account_not_found",
        )
    return row


async def list_accounts(session: AsyncSession, project_id: str, query: PageQuery) -> Sequence[ServiceAccount]:
    """Up to `limit + 1` service accounts, newest first. Raises `InvalidRequest` for an unknown cursor."""
    table = ServiceAccount
    statement = select(table).where(table.project_id == project_id, table.deleted_at.is_(None))
    if query.after is not None:
        known = select(table.id).where(table.project_id == project_id, table.id == query.after)
        if await session.scalar(known) is None:
            raise unknown_cursor(query.after)
        statement = statement.where(table.id < query.after)
    return (await session.scalars(statement.order_by(table.id.desc()).limit(query.limit + 1))).all()


async def get_key(session: AsyncSession, project_id: str, key_id: str, *, lock: bool = False) -> KeyWithOwner:
    """The project's key. `lock` prevents changes until the transaction ends. Raises `NotFound`."""
    query = _keys(project_id).where(ApiKey.id == key_id)
    row = (await session.execute(query.with_for_update(of=ApiKey) if lock else query)).one_or_none()
    if row is None:
        raise NotFound(f"No such API key in this project: {key_id}", param="api_key_id", code="api_key_not_found")
    return KeyWithOwner(*row)


async def list_keys(session: AsyncSession, project_id: str, query: ListKeys) -> Sequence[KeyWithOwner]:
    """Up to `limit + 1` keys, newest first. Raises `InvalidRequest` for an unknown cursor."""
    statement = _keys(project_id)
    if query.owner_project_access != "any":
        statement = statement.where(
            _owner_has_access() if query.owner_project_access == "active" else ~_owner_has_access()
        )
    if query.after is not None:
        known = select(ApiKey.id).where(ApiKey.project_id == project_id, ApiKey.id == query.after)
        if await session.scalar(known) is None:
            raise unknown_cursor(query.after)
        statement = statement.where(ApiKey.id < query.after)
    rows = await session.execute(statement.order_by(ApiKey.id.desc()).limit(query.limit + 1))
    return [KeyWithOwner(*row) for row in rows]


async def get_admin_key(session: AsyncSession, key_id: str) -> ApiKey:
    """The admin key. Raises `NotFound`."""
    query = select(ApiKey).where(ApiKey.id == key_id, ApiKey.kind == "admin", ApiKey.revoked_at.is_(None))
    row = (await session.scalars(query)).one_or_none()
    if row is None:
        raise NotFound(f"No such admin API key: {key_id}", param="key_id", code="api_key_not_found")
    return row


async def list_admin_keys(session: AsyncSession, query: ListAdminKeys) -> Sequence[ApiKey]:
    """Up to `limit + 1` admin keys in the requested order. Raises `InvalidRequest` for an unknown cursor."""
    ascending = query.order == "asc"
    statement = select(ApiKey).where(ApiKey.kind == "admin", ApiKey.revoked_at.is_(None))
    if query.after is not None:
        known = select(ApiKey.id).where(ApiKey.kind == "admin", ApiKey.id == query.after)
        if await session.scalar(known) is None:
            raise unknown_cursor(query.after)
        statement = statement.where(ApiKey.id > query.after if ascending else ApiKey.id < query.after)
    order = ApiKey.id.asc() if ascending else ApiKey.id.desc()
    return (await session.scalars(statement.order_by(order).limit(query.limit + 1))).all()


async def names_of_keys(session: AsyncSession, ids: Iterable[str]) -> dict[str, str]:
    """The names of keys by their ids, also of revoked ones, until their project is deleted."""
    return await _names(session, ApiKey, ids)


async def names_of_projects(session: AsyncSession, ids: Iterable[str]) -> dict[str, str]:
    """The names of projects by their ids, whatever their status."""
    return await _names(session, Project, ids)


async def _names(session: AsyncSession, table: type[ApiKey] | type[Project], ids: Iterable[str]) -> dict[str, str]:
    wanted = list(ids)
    if not wanted:
        return {}
    rows = await session.execute(select(table.id, table.name).where(table.id == any_(cast(wanted, ARRAY(Text)))))
    return {row.id: row.name for row in rows}


def _owner_has_access() -> ColumnElement[bool]:
    return and_(Project.status == "active", ServiceAccount.role.is_distinct_from("none"))


def _keys(project_id: str) -> Select[ApiKey, ServiceAccount, bool]:
    return (
        select(ApiKey, ServiceAccount, _owner_has_access())
        .join(Project, Project.id == ApiKey.project_id)
        .outerjoin(ServiceAccount, ServiceAccount.id == ApiKey.service_account_id)
        .where(ApiKey.project_id == project_id, ApiKey.revoked_at.is_(None))
    )
