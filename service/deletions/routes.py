"""`/v1/organization/projects/{id}`: a project's deletion and retention."""

from litestar import delete, get, post
from litestar.params import FromPath

from service.database.engine import Database
from service.deletions import actions
from service.deletions.schemas import ProjectDeletion, Retention, UpdateRetention, show_retention
from service.http.bodies import read_body
from service.http.operation import operation
from service.http.resources import ApiRequest, resource
from service.identity.audit import actor_of
from service.identity.queries import get_project


@delete(
    "/projects/{project_id:str}",
    status_code=200,
    summary="Delete a project",
    opt=operation(returns=ProjectDeletion),
)
async def delete_project(request: ApiRequest, project_id: FromPath[str]) -> ProjectDeletion:
    """Delete an archived project with its data, here and upstream. Its costs and the audit log are retained."""
    async with resource(request, Database).admin() as session:
        return await actions.delete_project(session, actor_of(request), project_id)


@get(
    "/projects/{project_id:str}/deletion",
    summary="Retrieve a project's deletion",
    opt=operation(returns=ProjectDeletion),
)
async def get_deletion(request: ApiRequest, project_id: FromPath[str]) -> ProjectDeletion:
    """The progress of a deletion, and what it waits for."""
    async with resource(request, Database).admin() as session:
        return await actions.progress_of(session, await get_project(session, project_id))


@get(
    "/projects/{project_id:str}/retention",
    summary="Retrieve a project's retention",
    opt=operation(returns=Retention),
)
async def get_retention(request: ApiRequest, project_id: FromPath[str]) -> Retention:
    """The number of days for which files are kept after a job last used them; null keeps them."""
    async with resource(request, Database).admin() as session:
        return show_retention(await get_project(session, project_id))


@post(
    "/projects/{project_id:str}/retention",
    status_code=200,
    summary="Update a project's retention",
    opt=operation(returns=Retention, body=UpdateRetention),
)
async def post_retention(request: ApiRequest, project_id: FromPath[str]) -> Retention:
    """Set the retention. Files that are already older are deleted within minutes."""
    body, _ = await read_body(request, UpdateRetention)
    async with resource(request, Database).admin() as session:
        return show_retention(await actions.set_retention(session, actor_of(request), project_id, body))


ADMIN_ROUTES = [delete_project, get_deletion, get_retention, post_retention]
