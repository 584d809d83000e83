"""Granting a tuned model or checkpoint to projects, and revoking it, in the caller's admin transaction."""

from collections.abc import Sequence

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from service.database.tables import CheckpointPermission, Model
from service.errors import NotFound, unknown_cursor
from service.identity import audit
from service.identity.audit import Actor
from service.identity.queries import get_active_project
from service.ids import new_id
from service.models.permissions.schemas import ListPermissions


async def grant(
    session: AsyncSession, actor: Actor, model: str, project_ids: Sequence[str]
) -> Sequence[CheckpointPermission]:
    """Grant a model to projects; existing permissions stay as they are. Returns the permissions in the order given.

    Raises `NotFound` for an unknown model or project, and `InvalidRequest` for an archived project.
    """
    await _check_model(session, model)
    unique_ids = list(dict.fromkeys(project_ids))
    for project_id in sorted(unique_ids):  # always in the same order: each is locked until the end
        await get_active_project(session, project_id)
    for project_id in unique_ids:
        added = await session.scalar(
            insert(CheckpointPermission)
            .values(id=new_id("cp_"), project_id=project_id, model=model)
            .on_conflict_do_nothing(index_elements=["project_id", "model"])
            .returning(CheckpointPermission.id)
        )
        if added is not None:
            data = {"fine_tuned_model_checkpoint": model, "project_id": project_id}
            await audit.record(
                session,
                actor,
                "checkpoint.permission.created",
                project_id=project_id,
                resource_id=added,
                resource_name=model,
                data=data,
            )
    rows = await session.scalars(
        select(CheckpointPermission).where(
            CheckpointPermission.model == model, CheckpointPermission.project_id.in_(unique_ids)
        )
    )
    return sorted(rows, key=lambda row: unique_ids.index(row.project_id))


async def list_permissions(session: AsyncSession, model: str, query: ListPermissions) -> Sequence[CheckpointPermission]:
    """Up to `limit + 1` permissions of a model. Raises `NotFound`, and `InvalidRequest` for an unknown cursor."""
    await _check_model(session, model)
    table = CheckpointPermission
    ascending = query.order == "ascending"
    statement = select(table).where(table.model == model)
    if query.project_id is not None:
        statement = statement.where(table.project_id == query.project_id)
    if query.after is not None:
        if await session.scalar(select(table.id).where(table.model == model, table.id == query.after)) is None:
            raise unknown_cursor(query.after)
        statement = statement.where(table.id > query.after if ascending else table.id < query.after)
    return (
        await session.scalars(
            statement.order_by(table.id.asc() if ascending else table.id.desc()).limit(query.limit + 1)
        )
    ).all()


async def revoke(session: AsyncSession, actor: Actor, model: str, permission_id: str) -> None:
    """Revoke a project's permission: from the commit on, its calls of the model are refused. Raises `NotFound`."""
    project_id = await session.scalar(
        delete(CheckpointPermission)
        .where(CheckpointPermission.model == model, CheckpointPermission.id == permission_id)
        .returning(CheckpointPermission.project_id)
    )
    if project_id is None:
        raise NotFound(
            f"No such permission for this model: {permission_id}",
            param="permission_id",
            code="checkpoint_permission_not_found",
        )
    await audit.record(
        session,
        actor,
        "checkpoint.permission.deleted",
        project_id=project_id,
        resource_id=permission_id,
        resource_name=model,
    )


async def _check_model(session: AsyncSession, name: str) -> None:
    if await session.scalar(select(Model.name).where(Model.name == name, Model.deleted_at.is_(None))) is None:
        raise NotFound(
            f"No tuned model or checkpoint is called '{name[:128]}'. Base models need no permission.",
            param="fine_tuned_model_checkpoint",
            code="model_not_found",
        )
