"""`/v1/organization/spend_limit` and `/v1/organization/projects/{project_id}/spend_limit`."""

import datetime as dt
from typing import Annotated, Literal

import msgspec
from litestar import delete, get, post
from litestar.params import FromPath
from sqlalchemy.ext.asyncio import AsyncSession

from service.billing import limits
from service.billing.balances import month_balance, month_of, organization_balance
from service.billing.ledger import MonthBalance
from service.billing.prices import cents_of, micros_of_cents
from service.database.engine import Database
from service.http.bodies import read_body
from service.http.operation import operation
from service.http.resources import ApiRequest, resource
from service.http.wire_types import RequestModel
from service.identity import audit
from service.identity.queries import check_active, get_project
from service.identity.requests import caller
from service.settings import Settings

Cents = Annotated[int, msgspec.Meta(ge=0, le=1_000_000_000_000)]
Kind = Literal["organization.spend_limit", "project.spend_limit"]


class SetSpendLimit(RequestModel, frozen=True, kw_only=True):
    """A limit in cents for every calendar month, in UTC."""

    currency: Literal["USD"]
    interval: Literal["month"]
    threshold_amount: Cents


class Enforcement(msgspec.Struct, frozen=True):
    """`enforcing` once reserved and spent amounts have reached the limit; no new work is accepted then."""

    status: Literal["inactive", "enforcing"]


class SpendLimitObject(msgspec.Struct, frozen=True, kw_only=True):
    """A monthly spend limit."""

    object: Kind
    currency: Literal["USD"] = "USD"
    interval: Literal["month"] = "month"
    threshold_amount: int
    enforcement: Enforcement


class SpendLimitDeleted(msgspec.Struct, frozen=True, kw_only=True):
    """The response to a deletion."""

    object: Literal["organization.spend_limit.deleted", "project.spend_limit.deleted"]
    deleted: bool = True


@get(
    "/projects/{project_id:str}/spend_limit",
    summary="Retrieve a project's spend limit",
    opt=operation(returns=SpendLimitObject),
)
async def get_project_limit(request: ApiRequest, project_id: FromPath[str]) -> SpendLimitObject:
    """The project's limit, and whether it has been reached this month."""
    async with resource(request, Database).admin() as session:
        await get_project(session, project_id)
        return await _show_project(session, project_id)


@post(
    "/projects/{project_id:str}/spend_limit",
    status_code=200,
    summary="Set a project's spend limit",
    opt=operation(returns=SpendLimitObject, body=SetSpendLimit),
)
async def set_project_limit(request: ApiRequest, project_id: FromPath[str]) -> SpendLimitObject:
    """Applies from the next reservation on. A limit below what is in use refuses new work and stops no running work."""
    body, _ = await read_body(request, SetSpendLimit)
    async with resource(request, Database).admin() as session:
        project = await get_project(session, project_id, lock="exclusive")
        check_active(project)
        await limits.set_project_limit(session, project, micros_of_cents(body.threshold_amount))
        await audit.record(
            session,
            audit.actor_of(request),
            "spend_limit.updated",
            project_id=project_id,
            resource_id=project_id,
            data={"threshold_amount": body.threshold_amount},
        )
        return await _show_project(session, project_id)


@delete(
    "/projects/{project_id:str}/spend_limit",
    status_code=200,
    summary="Delete a project's spend limit",
    opt=operation(returns=SpendLimitDeleted),
)
async def delete_project_limit(request: ApiRequest, project_id: FromPath[str]) -> SpendLimitDeleted:
    """The project may spend without its own limit; the organisation's limit still applies."""
    async with resource(request, Database).admin() as session:
        project = await get_project(session, project_id, lock="exclusive")
        await limits.remove_project_limit(session, project)
        await audit.record(
            session, audit.actor_of(request), "spend_limit.deleted", project_id=project_id, resource_id=project_id
        )
    return SpendLimitDeleted(object="project.spend_limit.deleted")


@get("/spend_limit", summary="Retrieve the organisation's spend limit", opt=operation(returns=SpendLimitObject))
async def get_organization_limit(request: ApiRequest) -> SpendLimitObject:
    """The limit over all projects together, and whether it has been reached this month."""
    async with resource(request, Database).admin() as session:
        return await _show_organization(session)


@post(
    "/spend_limit",
    status_code=200,
    summary="Set the organisation's spend limit",
    opt=operation(returns=SpendLimitObject, body=SetSpendLimit),
)
async def set_organization_limit(request: ApiRequest) -> SpendLimitObject:
    """Applies to all projects together, in addition to their own limits."""
    body, _ = await read_body(request, SetSpendLimit)
    async with resource(request, Database).admin() as session:
        await limits.set_organization_limit(session, micros_of_cents(body.threshold_amount))
        await audit.record(
            session,
            audit.actor_of(request),
            "spend_limit.updated",
            resource_id=resource(request, Settings).organization_id,
            data={"threshold_amount": body.threshold_amount},
        )
        return await _show_organization(session)


@delete(
    "/spend_limit",
    status_code=200,
    summary="Delete the organisation's spend limit",
    opt=operation(returns=SpendLimitDeleted),
)
async def delete_organization_limit(request: ApiRequest) -> SpendLimitDeleted:
    """The projects' own limits still apply."""
    async with resource(request, Database).admin() as session:
        await limits.remove_organization_limit(session)
        await audit.record(
            session,
            audit.actor_of(request),
            "spend_limit.deleted",
            resource_id=resource(request, Settings).organization_id,
        )
    return SpendLimitDeleted(object="organization.spend_limit.deleted")


@get("/project/spend_limit", summary="Retrieve the project's spend limit", opt=operation(returns=SpendLimitObject))
async def get_own_limit(request: ApiRequest) -> SpendLimitObject:
    """This project's limit, and whether it has been reached this month. Only an administrator changes it."""
    who = caller(request)
    async with resource(request, Database).project(who.project_id) as session:
        return await _show_project(session, who.project_id)


async def _show_project(session: AsyncSession, project_id: str) -> SpendLimitObject:
    month = month_of(dt.datetime.now(dt.UTC))
    return _show(
        await month_balance(session, project_id, month), "project.spend_limit", "The project has no spend limit."
    )


async def _show_organization(session: AsyncSession) -> SpendLimitObject:
    month = month_of(dt.datetime.now(dt.UTC))
    return _show(
        await organization_balance(session, month), "organization.spend_limit", "The organization has no spend limit."
    )


def _show(balance: MonthBalance, kind: Kind, missing: str) -> SpendLimitObject:
    if balance.limit is None:
        raise limits.no_limit(missing)
    reached = balance.in_use >= balance.limit
    return SpendLimitObject(
        object=kind,
        threshold_amount=cents_of(balance.limit),
        enforcement=Enforcement("enforcing" if reached else "inactive"),
    )


ROUTES = [get_own_limit]
ADMIN_ROUTES = [
    get_project_limit,
    set_project_limit,
    delete_project_limit,
    get_organization_limit,
    set_organization_limit,
    delete_organization_limit,
]
