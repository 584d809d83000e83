"""Deletes projects and sets their retention, for administrators, in the caller's transaction."""

from sqlalchemy.ext.asyncio import AsyncSession

from service.database.tables import Project
from service.deletions.queries import count_remaining, count_upstream_deletions, deletion_of_project
from service.deletions.requests import request_deletion
from service.deletions.schemas import ProjectDeletion, UpdateRetention, show_deletion
from service.errors import Conflict, NotFound
from service.identity import audit
from service.identity.audit import Actor
from service.identity.queries import check_active, get_project


async def delete_project(session: AsyncSession, actor: Actor, project_id: str) -> ProjectDeletion:
    """Request the deletion of an archived project. Workers carry it out, and it cannot be stopped. Idempotent.

    Raises `NotFound`, and `Conflict` for an active project.
    """
    row = await get_project(session, project_id, lock="exclusive")
    if row.status == "active":
        raise Conflict(
            f"The project {project_id} is active. Archive it first, by POST to {project_id}/archive.",
            param="project_id",
            code="project_not_archived",
        )
    if row.status == "archived":
        row.status = "deleting"
        await session.flush()
        await request_deletion(session, project_id=project_id, kind="project", subject=project_id)
        await audit.record(session, actor, "project.deleted", project_id=project_id, resource_id=project_id)
    return await progress_of(session, row)


async def progress_of(session: AsyncSession, row: Project) -> ProjectDeletion:
    """The progress of a project's deletion. Raises `NotFound` when none was requested."""
    deletion = await deletion_of_project(session, row.id)
    if deletion is None:
        raise NotFound(f"No deletion of the project {row.id} was requested.", param="project_id", code="not_found")
    return show_deletion(
        row, deletion, await count_remaining(session, row.id), await count_upstream_deletions(session, row.id)
    )


async def set_retention(session: AsyncSession, actor: Actor, project_id: str, request: UpdateRetention) -> Project:
    """Set the number of days after their last use for which a project's files are kept. Raises `NotFound`."""
    row = await get_project(session, project_id, lock="exclusive")
    check_active(row)
    row.retention_days = request.retention_days
    data = {"retention_days": request.retention_days}
    await audit.record(session, actor, "project_retention.updated", project_id=row.id, resource_id=row.id, data=data)
    return row
