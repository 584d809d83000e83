"""`/v1/organization/projects/{project_id}/api_keys` and `/v1/organization/admin_api_keys`."""

from litestar import Response, delete, get, post
from litestar.params import FromPath
from sqlalchemy.ext.asyncio import AsyncSession

from service.database.encryption import Sealer
from service.database.engine import Database
from service.http.bodies import read_body, read_query
from service.http.idempotency import answer_once
from service.http.operation import operation
from service.http.pagination import page_of
from service.http.resources import ApiRequest, resource
from service.http.wire_types import Page
from service.identity import actions
from service.identity.audit import actor_of
from service.identity.queries import KeyWithOwner, get_admin_key, get_key, get_project, list_admin_keys, list_keys
from service.identity.requests import request_identity_of
from service.identity.schemas import (
    AdminKeyDeleted,
    AdminKeyObject,
    CreateAdminKey,
    KeyDeleted,
    KeyObject,
    ListAdminKeys,
    ListKeys,
    NewAdminKey,
    UpdateKey,
    show_admin_key,
    show_key,
    show_new_admin_key,
)

KEYS = "/projects/{project_id:str}/api_keys"
KEY = KEYS + "/{api_key_id:str}"


@get(KEYS, summary="List a project's API keys", opt=operation(returns=Page[KeyObject], query=ListKeys))
async def get_project_keys(request: ApiRequest, project_id: FromPath[str]) -> Page[KeyObject]:
    """The project's keys without their values, newest first. Expired keys are listed until they are deleted."""
    query = read_query(request, ListKeys)
    async with resource(request, Database).admin() as session:
        await get_project(session, project_id)
        found = await list_keys(session, project_id, query)
    return page_of(found, query.limit, _show, lambda key: key.id)


@get(KEY, summary="Retrieve a project's API key", opt=operation(returns=KeyObject))
async def get_project_key(request: ApiRequest, project_id: FromPath[str], api_key_id: FromPath[str]) -> KeyObject:
    """One key: its owner, its scopes, when it was last used and when it expires."""
    async with resource(request, Database).admin() as session:
        await get_project(session, project_id)
        return _show(await get_key(session, project_id, api_key_id))


@post(
    KEY,
    status_code=200,
    summary="Update a project's API key",
    opt=operation(returns=KeyObject, body=UpdateKey),
)
async def update_project_key(request: ApiRequest, project_id: FromPath[str], api_key_id: FromPath[str]) -> KeyObject:
    """Change its scopes, or when it expires. Both take effect within a second."""
    body, _ = await read_body(request, UpdateKey)
    async with resource(request, Database).admin() as session:
        return _show(await actions.update_key(session, actor_of(request), project_id, api_key_id, body))


@delete(KEY, status_code=200, summary="Delete a project's API key", opt=operation(returns=KeyDeleted))
async def delete_project_key(request: ApiRequest, project_id: FromPath[str], api_key_id: FromPath[str]) -> KeyDeleted:
    """The key stops working within a second."""
    async with resource(request, Database).admin() as session:
        await actions.delete_key(session, actor_of(request), project_id, api_key_id)
    return KeyDeleted(id=api_key_id)


@post(
    "/admin_api_keys",
    status_code=200,
    summary="Create an admin API key",
    opt=operation(returns=NewAdminKey, body=CreateAdminKey, creates=True),
)
async def create_admin_key(request: ApiRequest) -> Response[bytes]:
    """Create a key for the organisation's API. Only this response shows its value."""
    body, body_sha256 = await read_body(request, CreateAdminKey)

    async def act(session: AsyncSession) -> NewAdminKey:
        return show_new_admin_key(*await actions.create_admin_key(session, actor_of(request), body))

    return await answer_once(
        resource(request, Database), request_identity_of(request, body_sha256), act, sealer=resource(request, Sealer)
    )


@get(
    "/admin_api_keys",
    summary="List admin API keys",
    opt=operation(returns=Page[AdminKeyObject], query=ListAdminKeys),
)
async def get_admin_keys(request: ApiRequest) -> Page[AdminKeyObject]:
    """Admin keys without their values, oldest first unless `order=desc`."""
    query = read_query(request, ListAdminKeys)
    async with resource(request, Database).admin() as session:
        rows = await list_admin_keys(session, query)
    return page_of(rows, query.limit, show_admin_key, lambda key: key.id)


@get("/admin_api_keys/{key_id:str}", summary="Retrieve an admin API key", opt=operation(returns=AdminKeyObject))
async def get_one_admin_key(request: ApiRequest, key_id: FromPath[str]) -> AdminKeyObject:
    """One admin key without its value."""
    async with resource(request, Database).admin() as session:
        return show_admin_key(await get_admin_key(session, key_id))


@delete(
    "/admin_api_keys/{key_id:str}",
    status_code=200,
    summary="Delete an admin API key",
    opt=operation(returns=AdminKeyDeleted),
)
async def delete_admin_key(request: ApiRequest, key_id: FromPath[str]) -> AdminKeyDeleted:
    """The key stops working within a second. The last valid key that may change anything cannot be deleted."""
    async with resource(request, Database).admin() as session:
        await actions.delete_admin_key(session, actor_of(request), key_id)
    return AdminKeyDeleted(id=key_id)


def _show(found: KeyWithOwner) -> KeyObject:
    return show_key(found.row, found.account, access=found.access)


ADMIN_ROUTES = [
    get_project_keys,
    get_project_key,
    update_project_key,
    delete_project_key,
    create_admin_key,
    get_admin_keys,
    get_one_admin_key,
    delete_admin_key,
]
