"""`/v1/organization/projects`, and `/v1/project` of the caller. Also the list of this folder's routes."""

from litestar import Response, get, post
from litestar.params import FromPath
from sqlalchemy.ext.asyncio import AsyncSession

from service.database.engine import Database
from service.http.bodies import read_body, read_query
from service.http.idempotency import answer_once
from service.http.operation import operation
from service.http.pagination import page_of
from service.http.resources import ApiRequest, resource
from service.http.wire_types import Page
from service.identity import actions, audit_routes, key_routes, service_account_routes
from service.identity.audit import actor_of
from service.identity.queries import get_key, get_project, list_projects
from service.identity.requests import caller, request_identity_of
from service.identity.schemas import (
    CreateProject,
    ListProjects,
    OwnProject,
    ProjectObject,
    UpdateProject,
    show_key,
    show_own_project,
    show_project,
)


@post(
    "/projects",
    status_code=200,
    summary="Create a project",
    opt=operation(returns=ProjectObject, body=CreateProject, creates=True),
)
async def create_project(request: ApiRequest) -> Response[bytes]:
    """Create a tenant with its own data, jobs, models and budget. Its keys belong to service accounts."""
    body, body_sha256 = await read_body(request, CreateProject)

    async def act(session: AsyncSession) -> ProjectObject:
        return show_project(await actions.create_project(session, actor_of(request), body))

    return await answer_once(resource(request, Database), request_identity_of(request, body_sha256), act)


@get("/projects", summary="List projects", opt=operation(returns=Page[ProjectObject], query=ListProjects))
async def get_projects(request: ApiRequest) -> Page[ProjectObject]:
    """Newest first; archived ones with `include_archived=true`."""
    query = read_query(request, ListProjects)
    async with resource(request, Database).admin() as session:
        rows = await list_projects(session, query)
    return page_of(rows, query.limit, show_project, lambda project: project.id)


@get("/projects/{project_id:str}", summary="Retrieve a project", opt=operation(returns=ProjectObject))
async def get_one_project(request: ApiRequest, project_id: FromPath[str]) -> ProjectObject:
    """One project, archived or not."""
    async with resource(request, Database).admin() as session:
        return show_project(await get_project(session, project_id))


@post(
    "/projects/{project_id:str}",
    status_code=200,
    summary="Update a project",
    opt=operation(returns=ProjectObject, body=UpdateProject),
)
async def update_project(request: ApiRequest, project_id: FromPath[str]) -> ProjectObject:
    """Rename a project."""
    body, _ = await read_body(request, UpdateProject)
    async with resource(request, Database).admin() as session:
        return show_project(await actions.update_project(session, actor_of(request), project_id, body))


@get("/project", summary="Retrieve the key's project", opt=operation(returns=OwnProject))
async def get_own_project(request: ApiRequest) -> OwnProject:
    """The project that the key belongs to, and the key itself: its name, owner, scopes and end."""
    who = caller(request)
    async with resource(request, Database).project(who.project_id) as session:
        project = await get_project(session, who.project_id)
        key = await get_key(session, who.project_id, who.key_id)
    return show_own_project(project, show_key(key.row, key.account, access=key.access))


ROUTES = [get_own_project, *audit_routes.ROUTES]
ADMIN_ROUTES = [
    create_project,
    get_projects,
    get_one_project,
    update_project,
    *service_account_routes.ADMIN_ROUTES,
    *key_routes.ADMIN_ROUTES,
    *audit_routes.ADMIN_ROUTES,
]
