"""`/v1/fine_tuning/checkpoints/{name}/permissions`, for administrators."""

from litestar import Response, delete, get, post
from litestar.params import FromPath
from sqlalchemy.ext.asyncio import AsyncSession

from service.database.engine import Database
from service.http.bodies import read_body, read_query
from service.http.idempotency import answer_once
from service.http.operation import operation
from service.http.pagination import page_of
from service.http.resources import ApiRequest, resource
from service.http.wire_types import Page
from service.identity.audit import actor_of
from service.identity.requests import request_identity_of
from service.models.permissions import actions
from service.models.permissions.schemas import (
    CreatePermissions,
    ListPermissions,
    PermissionDeleted,
    PermissionObject,
    show_permission,
)


@post(
    "/{checkpoint:str}/permissions",
    status_code=200,
    summary="Grant a model to projects",
    opt=operation(returns=Page[PermissionObject], body=CreatePermissions, creates=True),
)
async def create_permissions(request: ApiRequest, checkpoint: FromPath[str]) -> Response[bytes]:
    """Let projects see, call and further train a tuned model or checkpoint of another project."""
    body, body_sha256 = await read_body(request, CreatePermissions)

    async def act(session: AsyncSession) -> Page[PermissionObject]:
        rows = await actions.grant(session, actor_of(request), checkpoint, body.project_ids)
        return page_of(rows, len(rows), show_permission, lambda permission: permission.id)

    return await answer_once(resource(request, Database), request_identity_of(request, body_sha256), act)


@get(
    "/{checkpoint:str}/permissions",
    summary="List a model's permissions",
    opt=operation(returns=Page[PermissionObject], query=ListPermissions),
)
async def get_permissions(request: ApiRequest, checkpoint: FromPath[str]) -> Page[PermissionObject]:
    """The permissions of a model, newest first unless `order=ascending`."""
    query = read_query(request, ListPermissions)
    async with resource(request, Database).admin() as session:
        rows = await actions.list_permissions(session, checkpoint, query)
    return page_of(rows, query.limit, show_permission, lambda permission: permission.id)


@delete(
    "/{checkpoint:str}/permissions/{permission_id:str}",
    status_code=200,
    summary="Take a model back from a project",
    opt=operation(returns=PermissionDeleted),
)
async def delete_permission(
    request: ApiRequest, checkpoint: FromPath[str], permission_id: FromPath[str]
) -> PermissionDeleted:
    """The project can no longer use the model."""
    async with resource(request, Database).admin() as session:
        await actions.revoke(session, actor_of(request), checkpoint, permission_id)
    return PermissionDeleted(id=permission_id)


ADMIN_ROUTES = [create_permissions, get_permissions, delete_permission]
