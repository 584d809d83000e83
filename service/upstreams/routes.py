"""`/v1/upstreams` for a project's own accounts, and `/v1/organization/upstreams` for all accounts."""

import datetime as dt
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import cast

import msgspec
from litestar import Response, delete, get, post
from litestar.params import FromPath
from msgspec import UNSET
from sqlalchemy.ext.asyncio import AsyncSession

from service.database.encryption import Sealer
from service.database.engine import Database
from service.database.tables import UpstreamAccount
from service.errors import InvalidRequest
from service.http.bodies import read_body, read_query
from service.http.idempotency import answer_once
from service.http.operation import operation
from service.http.pagination import page_of
from service.http.resources import ApiRequest, resource
from service.http.wire_types import Page, PageQuery
from service.identity.audit import actor_of
from service.identity.callers import Administrator, Caller
from service.identity.requests import caller, request_identity_of
from service.ids import new_id
from service.settings import Settings
from service.upstreams import actions
from service.upstreams.accounts import Accounts, reach_of
from service.upstreams.actions import CheckResult
from service.upstreams.adapters.azure_inference import DEFAULT_API_VERSION
from service.upstreams.port import UpstreamError
from service.upstreams.queries import get_account, list_accounts, list_usable_accounts
from service.upstreams.schemas import (
    CreateSharedUpstream,
    CreateUpstream,
    UpdateSharedUpstream,
    UpdateUpstream,
    UpstreamDeleted,
    UpstreamObject,
    UsableUpstream,
    show_upstream,
    show_usable,
)
from service.upstreams.targets import checked_base_url


@post(
    "/upstreams",
    status_code=200,
    summary="Add an upstream account of the project",
    opt=operation(returns=UpstreamObject, body=CreateUpstream, creates=True),
)
async def create_own(request: ApiRequest) -> Response[bytes]:
    """Add an account that only this project uses, before shared ones. The credential is checked, then encrypted."""
    return await _create(request, *await read_body(request, CreateUpstream))


@get(
    "/upstreams",
    summary="List the project's upstream accounts",
    opt=operation(returns=Page[UpstreamObject], query=PageQuery),
)
async def get_own(request: ApiRequest) -> Page[UpstreamObject]:
    """The project's own accounts, newest first. `/v1/project/upstreams` lists the shared ones too."""
    return await _list(request)


@get(
    "/project/upstreams",
    summary="List the upstream accounts that the project may use",
    opt=operation(returns=Page[UsableUpstream], query=PageQuery),
)
async def get_usable(request: ApiRequest) -> Page[UsableUpstream]:
    """The project's own accounts and the shared ones, newest first: names and states, no addresses."""
    who, query = caller(request), read_query(request, PageQuery)
    async with resource(request, Database).project(who.project_id) as session:
        rows = await list_usable_accounts(session, query, who.project_id)
    now = _now()
    return page_of(rows, query.limit, lambda row: show_usable(row, now), lambda each: each.id)


@get(
    "/upstreams/{upstream_id:str}",
    summary="Retrieve an upstream account of the project",
    opt=operation(returns=UpstreamObject),
)
async def get_one_own(request: ApiRequest, upstream_id: FromPath[str]) -> UpstreamObject:
    """One account with its health."""
    return await _retrieve(request, upstream_id)


@post(
    "/upstreams/{upstream_id:str}",
    status_code=200,
    summary="Update an upstream account of the project",
    opt=operation(returns=UpstreamObject, body=UpdateUpstream),
)
async def update_own(request: ApiRequest, upstream_id: FromPath[str]) -> UpstreamObject:
    """Change an account, replace its credential, drain it, resume it, or end a cool-down."""
    body, _ = await read_body(request, UpdateUpstream)
    return await _update(request, upstream_id, body)


@delete(
    "/upstreams/{upstream_id:str}",
    status_code=200,
    summary="Delete an upstream account of the project",
    opt=operation(returns=UpstreamDeleted),
)
async def delete_own(request: ApiRequest, upstream_id: FromPath[str]) -> UpstreamDeleted:
    """Delete an account and its credential. Refused while jobs or tuned models use it."""
    return await _delete(request, upstream_id)


@post(
    "/upstreams",
    status_code=200,
    summary="Add a shared upstream account",
    opt=operation(returns=UpstreamObject, body=CreateSharedUpstream, creates=True),
)
async def create_shared(request: ApiRequest) -> Response[bytes]:
    """Add an account that every project uses. The credential is checked, then encrypted, and never shown."""
    return await _create(request, *await read_body(request, CreateSharedUpstream))


@get("/upstreams", summary="List upstream accounts", opt=operation(returns=Page[UpstreamObject], query=PageQuery))
async def get_all(request: ApiRequest) -> Page[UpstreamObject]:
    """Shared accounts and projects' own, newest first, each with its health and its number of running jobs."""
    return await _list(request)


@get("/upstreams/{upstream_id:str}", summary="Retrieve an upstream account", opt=operation(returns=UpstreamObject))
async def get_any(request: ApiRequest, upstream_id: FromPath[str]) -> UpstreamObject:
    """One account with its health."""
    return await _retrieve(request, upstream_id)


@post(
    "/upstreams/{upstream_id:str}",
    status_code=200,
    summary="Update an upstream account",
    opt=operation(returns=UpstreamObject, body=UpdateSharedUpstream),
)
async def update_any(request: ApiRequest, upstream_id: FromPath[str]) -> UpstreamObject:
    """Change an account, replace its credential, drain it, resume it, or end a cool-down."""
    body, _ = await read_body(request, UpdateSharedUpstream)
    return await _update(request, upstream_id, body)


@delete(
    "/upstreams/{upstream_id:str}",
    status_code=200,
    summary="Delete an upstream account",
    opt=operation(returns=UpstreamDeleted),
)
async def delete_any(request: ApiRequest, upstream_id: FromPath[str]) -> UpstreamDeleted:
    """Delete an account and its credential. Refused while jobs or tuned models use it."""
    return await _delete(request, upstream_id)


async def _create(request: ApiRequest, body: CreateUpstream, body_sha256: bytes) -> Response[bytes]:
    owner = _owner(request)
    if body.api_version is not None and body.kind != "azure":
        raise _only_azure()
    if body.kind == "azure" and body.api_version is None:
        body = msgspec.structs.replace(body, api_version=DEFAULT_API_VERSION)
    base_url = _checked_base_url(request, body.base_url, body.kind, owner)
    row = UpstreamAccount(
        id=new_id("upstream_"),
        project_id=owner,
        kind=body.kind,
        base_url=base_url,
        api_version=body.api_version,
        provider=body.provider,
    )
    check = await _check_upstream(request, row, body.credential)

    async def act(session: AsyncSession) -> UpstreamObject:
        created = await actions.create_account(
            session,
            resource(request, Sealer),
            actor_of(request),
            account_id=row.id,
            owner=owner,
            request=body,
            base_url=base_url,
            check=check,
        )
        return show_upstream(created, 0, _now())

    return await answer_once(resource(request, Database), request_identity_of(request, body_sha256), act)


async def _list(request: ApiRequest) -> Page[UpstreamObject]:
    owner = _owner(request)
    query = read_query(request, PageQuery)
    async with _scope(request, owner) as session:
        rows = await list_accounts(session, query, owner=owner, any_owner=owner is None)
        shown = await _shown(session, rows)
    return page_of(shown, query.limit, lambda each: each, lambda each: each.id)


async def _retrieve(request: ApiRequest, upstream_id: str) -> UpstreamObject:
    owner = _owner(request)
    async with _scope(request, owner) as session:
        row = await get_account(session, upstream_id, owner=owner, any_owner=owner is None)
        return (await _shown(session, [row]))[0]


async def _update(request: ApiRequest, upstream_id: str, body: UpdateUpstream) -> UpstreamObject:
    owner = _owner(request)
    async with _scope(request, owner) as session:
        seen = await get_account(session, upstream_id, owner=owner, any_owner=owner is None)
    actions.check_changeable(seen, body)
    if body.api_version is not UNSET and body.api_version is not None and seen.kind != "azure":
        raise _only_azure()
    base_url, check = None, None
    if body.credential is not UNSET:
        base_url = seen.base_url
        if body.base_url is not UNSET:
            base_url = _checked_base_url(request, body.base_url, seen.kind, seen.project_id)
        changed = UpstreamAccount(
            id=seen.id,
            project_id=seen.project_id,
            kind=seen.kind,
            base_url=base_url,
            api_version=seen.api_version if body.api_version is UNSET else body.api_version,
        )
        check = await _check_upstream(request, changed, body.credential)
    async with _scope(request, owner) as session:
        row = await actions.update_account(
            session,
            resource(request, Sealer),
            actor_of(request),
            account_id=upstream_id,
            owner=owner,
            any_owner=owner is None,
            request=body,
            base_url=base_url,
            seen_version=seen.version,
            check=check,
        )
        return (await _shown(session, [row]))[0]


async def _delete(request: ApiRequest, upstream_id: str) -> UpstreamDeleted:
    owner = _owner(request)
    async with _scope(request, owner) as session:
        await actions.delete_account(
            session, actor_of(request), account_id=upstream_id, owner=owner, any_owner=owner is None
        )
    return UpstreamDeleted(id=upstream_id)


async def _check_upstream(request: ApiRequest, row: UpstreamAccount, credential: str) -> CheckResult:
    """List the upstream's models. Raises `InvalidRequest` when it refuses the credential; other errors are accepted."""
    upstream = resource(request, Accounts).probe(row, credential)
    try:
        await upstream.check()
    except UpstreamError as error:
        if error.kind == "auth":
            raise InvalidRequest(
                "The upstream refuses the credential. Check the credential and the base URL.",
                param="credential",
                code="upstream_credential_refused",
            ) from None
        return CheckResult(error=error.kind if error.kind in ("quota", "rate_limit") else "away")
    finally:
        await upstream.close()
    return CheckResult(error=None)


async def _shown(session: AsyncSession, rows: Sequence[UpstreamAccount]) -> list[UpstreamObject]:
    busy = await actions.active_jobs(session, [row.id for row in rows])
    return [show_upstream(row, busy.get(row.id, 0), _now()) for row in rows]


def _checked_base_url(request: ApiRequest, base_url: str, kind: str, owner: str | None) -> str:
    settings = resource(request, Settings)
    hosts = {"localhost", "127.0.0.1", "::1", "0.0.0.0", settings.host}  # noqa: S104
    authority = request.headers.get("host", "")
    if ":" not in authority.rpartition("]")[2]:
        authority = f"{authority}:{443 if request.url.scheme == 'https' else 80}"
    own_hosts = frozenset({f"{host}:{settings.port}" for host in hosts} | {authority.lower()})
    return checked_base_url(base_url, kind, reach_of(settings, own=owner is not None), own_hosts=own_hosts)


def _owner(request: ApiRequest) -> str | None:
    """The project whose accounts a caller may see; None for an administrator, who may see all."""
    who = cast("Caller | Administrator", request.scope["auth"])
    return who.project_id if isinstance(who, Caller) else None


def _scope(request: ApiRequest, owner: str | None) -> AbstractAsyncContextManager[AsyncSession]:
    db = resource(request, Database)
    return db.admin() if owner is None else db.project(owner)


def _only_azure() -> InvalidRequest:
    return InvalidRequest(
        "Only accounts of kind 'azure' have an api_version.", param="api_version", code="conflicting_parameters"
    )


def _now() -> float:
    return dt.datetime.now(dt.UTC).timestamp()


ROUTES = [get_usable, create_own, get_own, get_one_own, update_own, delete_own]
ADMIN_ROUTES = [create_shared, get_all, get_any, update_any, delete_any]
