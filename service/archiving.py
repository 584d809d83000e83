"""Archives a project: its keys stop working, and its jobs and runs that are not upstream yet are cancelled.

This module is above the domains, because it calls several of them in one transaction.
"""

from litestar import post
from litestar.params import FromPath
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from service.database.engine import Database
from service.database.tables import Project
from service.experiments.record import cancel_all as cancel_experiments
from service.http.bodies import read_body
from service.http.operation import operation
from service.http.resources import ApiRequest, resource
from service.http.wire_types import NoFields
from service.identity import audit
from service.identity.audit import Actor, actor_of
from service.identity.queries import get_project
from service.identity.schemas import ProjectObject, show_project
from service.jobs.archiving import cancel_unsent
from service.runs.record import cancel_all


@post(
    "/projects/{project_id:str}/archive",
    status_code=200,
    summary="Archive a project",
    opt=operation(returns=ProjectObject),
)
async def archive_project(request: ApiRequest, project_id: FromPath[str]) -> ProjectObject:
    """Archive a project permanently. Its keys stop within a second, and jobs not yet upstream are cancelled."""
    await read_body(request, NoFields)
    async with resource(request, Database).admin() as session:
        return show_project(await archive(session, actor_of(request), project_id))


async def archive(session: AsyncSession, actor: Actor, project_id: str) -> Project:
    """Archive a project permanently, in the caller's transaction. Archiving it again changes nothing.

    Jobs that run upstream are polled until they end, because they cost money. Raises `NotFound`.
    """
    row = await get_project(session, project_id, lock="exclusive")
    if row.status != "active":
        return row
    row.status, row.archived_at = "archived", await session.scalar(select(func.now()))
    await session.flush()
    data = {
        "cancelled_jobs": await cancel_unsent(session, project_id),
        "cancelled_experiments": await cancel_experiments(session, project_id),
        "cancelled_runs": await cancel_all(session, project_id),
    }
    await audit.record(session, actor, "project.archived", project_id=row.id, resource_id=row.id, data=data)
    return row


ADMIN_ROUTES = [archive_project]
