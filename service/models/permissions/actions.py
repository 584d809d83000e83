"""Granting a tuned model or checkpoint to projects, and taking it back. Each runs in its caller's admin transaction."""

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
    """Let projects use a model, in the order given; what was granted already stays as it is.

    Raises `NotFound` for a model or a project that is not there, and `InvalidRequest` for an archived project.
    """
    await _check_model(session, model)
    wanted = list(dict.fromkeys(project_ids))
    for project_id in sorted(wanted):  # in one order, since each is kept until the end
        await get_active_project(session, project_id)
    for project_id in wanted:
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
                data=data,
            )
    rows = await session.scalars(
        select(CheckpointPermission).where(
            CheckpointPermission.model == model, CheckpointPermission.project_id.in_(wanted)
        )
    )
    return sorted(rows, key=lambda row: wanted.index(row.project_id))


async def list_permissions(session: AsyncSession, model: str, query: ListPermissions) -> Sequence[CheckpointPermission]:
    """Up to `limit + 1` permissions of a model. Raises `NotFound`, and `InvalidRequest` for an unknown cursor."""
    await _check_model(session, model)
    table = CheckpointPermission
    upwards = query.order == "ascending"
    wanted = select(table).where(table.model == model)
    if query.project_id is not None:
        wanted = wanted.where(table.project_id == query.project_id)
    if query.after is not None:
        if await session.scalar(select(table.id).where(table.model == model, table.id == query.after)) is None:
            raise unknown_cursor(query.after)
        wanted = wanted.where(table.id > query.after if upwards else table.id < query.after)
    return (
        await session.scalars(wanted.order_by(table.id.asc() if upwards else table.id.desc()).limit(query.limit + 1))
    ).all()


async def take_back(session: AsyncSession, actor: Actor, model: str, permission_id: str) -> None:
    """End a project's permission: its calls with the model find nothing from the commit on. Raises `NotFound`."""
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
        session, actor, "checkpoint.permission.deleted", project_id=project_id, resource_id=permission_id
    )


async def _check_model(session: AsyncSession, name: str) -> None:
    if await session.scalar(select(Model.name).where(Model.name == name, Model.deleted_at.is_(None))) is None:
        raise NotFound(
            f"No tuned model or checkpoint is called '{name[:128]}'. Base models need no permission.",
            param="fine_tuned_model_checkpoint",
            code="model_not_found",
        )
