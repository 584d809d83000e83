"""`/v1/organization/projects/{project_id}/service_accounts`, and the creation of their keys."""

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
from service.http.wire_types import Page, PageQuery
from service.identity import actions
from service.identity.audit import actor_of
from service.identity.queries import get_account, get_project, list_accounts
from service.identity.requests import request_identity_of
from service.identity.schemas import (
    CreateKey,
    CreateServiceAccount,
    NewKey,
    ServiceAccountCreated,
    ServiceAccountDeleted,
    ServiceAccountObject,
    UpdateServiceAccount,
    show_account,
    show_created,
    show_new_key,
)

ACCOUNTS = "/projects/{project_id:str}/service_accounts"
ACCOUNT = ACCOUNTS + "/{service_account_id:str}"


@post(
    ACCOUNTS,
    status_code=200,
    summary="Create a service account",
    opt=operation(returns=ServiceAccountCreated, body=CreateServiceAccount, creates=True),
)
async def create_service_account(request: ApiRequest, project_id: FromPath[str]) -> Response[bytes]:
    """Create a service account with a key. Only this response shows the key's value."""
    body, body_sha256 = await read_body(request, CreateServiceAccount)

    async def act(session: AsyncSession) -> ServiceAccountCreated:
        account, key, value = await actions.create_account(session, actor_of(request), project_id, body)
        return show_created(account, None if key is None else show_new_key(key, value))

    return await answer_once(
        resource(request, Database), request_identity_of(request, body_sha256), act, sealer=resource(request, Sealer)
    )


@get(
    ACCOUNTS,
    summary="List a project's service accounts",
    opt=operation(returns=Page[ServiceAccountObject], query=PageQuery),
)
async def get_service_accounts(request: ApiRequest, project_id: FromPath[str]) -> Page[ServiceAccountObject]:
    """The project's service accounts, newest first."""
    query = read_query(request, PageQuery)
    async with resource(request, Database).admin() as session:
        await get_project(session, project_id)
        rows = await list_accounts(session, project_id, query)
    return page_of(rows, query.limit, show_account, lambda account: account.id)


@get(ACCOUNT, summary="Retrieve a service account", opt=operation(returns=ServiceAccountObject))
async def get_service_account(
    request: ApiRequest, project_id: FromPath[str], service_account_id: FromPath[str]
) -> ServiceAccountObject:
    """One service account with its role."""
    async with resource(request, Database).admin() as session:
        await get_project(session, project_id)
        return show_account(await get_account(session, project_id, service_account_id))


@post(
    ACCOUNT,
    status_code=200,
    summary="Update a service account",
    opt=operation(returns=ServiceAccountObject, body=UpdateServiceAccount),
)
async def update_service_account(
    request: ApiRequest, project_id: FromPath[str], service_account_id: FromPath[str]
) -> ServiceAccountObject:
    """Change its name or role. With the role `none` its keys are refused within a second, until it has another role."""
    body, _ = await read_body(request, UpdateServiceAccount)
    async with resource(request, Database).admin() as session:
        return show_account(
            await actions.update_account(session, actor_of(request), project_id, service_account_id, body)
        )


@delete(ACCOUNT, status_code=200, summary="Delete a service account", opt=operation(returns=ServiceAccountDeleted))
async def delete_service_account(
    request: ApiRequest, project_id: FromPath[str], service_account_id: FromPath[str]
) -> ServiceAccountDeleted:
    """Delete it and its keys, which stop working within a second."""
    async with resource(request, Database).admin() as session:
        await actions.delete_account(session, actor_of(request), project_id, service_account_id)
    return ServiceAccountDeleted(id=service_account_id)


@post(
    ACCOUNT + "/api_keys",
    status_code=200,
    summary="Create a service account's key",
    opt=operation(returns=NewKey, body=CreateKey, creates=True),
)
async def create_service_account_key(
    request: ApiRequest, project_id: FromPath[str], service_account_id: FromPath[str]
) -> Response[bytes]:
    """Create another key. Only this response shows its value. `scopes: ["api.all.read"]` makes it read-only."""
    body, body_sha256 = await read_body(request, CreateKey)

    async def act(session: AsyncSession) -> NewKey:
        made = await actions.create_key(session, actor_of(request), project_id, service_account_id, body)
        return show_new_key(*made)

    return await answer_once(
        resource(request, Database), request_identity_of(request, body_sha256), act, sealer=resource(request, Sealer)
    )


ADMIN_ROUTES = [
    create_service_account,
    get_service_accounts,
    get_service_account,
    update_service_account,
    delete_service_account,
    create_service_account_key,
]
