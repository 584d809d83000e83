"""What administrators can do: delete a project, and say how long it keeps data. Each in its caller's transaction."""

from sqlalchemy.ext.asyncio import AsyncSession

from service.database.tables import Project
from service.deletions.queries import count_left, count_open, deletion_of_project
from service.deletions.requests import request_deletion
from service.deletions.schemas import ProjectDeletion, UpdateRetention, show_deletion
from service.errors import Conflict, NotFound
from service.identity import audit
from service.identity.audit import Actor
from service.identity.queries import check_active, get_project


async def delete_project(session: AsyncSession, actor: Actor, project_id: str) -> ProjectDeletion:
    """Have an archived project deleted; workers do it, and it cannot be stopped. Again is fine.

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
    """How far a project's deletion is. Raises `NotFound` when nobody has asked for it."""
    work = await deletion_of_project(session, row.id)
    if work is None:
        raise NotFound(f"Nobody has deleted the project {row.id}.", param="project_id", code="not_found")
    return show_deletion(row, work, await count_left(session, row.id), await count_open(session, row.id))


async def set_retention(session: AsyncSession, actor: Actor, project_id: str, wanted: UpdateRetention) -> Project:
    """Set for how many days after their last use a project's files are kept. Raises `NotFound`, `InvalidRequest`."""
    row = await get_project(session, project_id, lock="exclusive")
    check_active(row)
    row.retention_days = wanted.retention_days
    data = {"retention_days": wanted.retention_days}
    await audit.record(session, actor, "project_retention.updated", project_id=row.id, resource_id=row.id, data=data)
    return row
