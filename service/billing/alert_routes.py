"""Spend alerts: `/v1/organization/spend_alerts` and `/v1/organization/projects/{project_id}/spend_alerts`."""

from typing import Annotated, Literal

import msgspec
from litestar import delete, get, post
from litestar.params import FromPath

from service.billing import alert_queries as alerts
from service.billing.alert_queries import Alert
from service.billing.limit_routes import Cents
from service.billing.prices import cents_of, micros_of_cents
from service.database.engine import Database
from service.database.tables import SpendAlert
from service.http.bodies import read_body, read_query
from service.http.operation import operation
from service.http.resources import ApiRequest, resource
from service.http.wire_types import Page, PageQuery, RequestModel
from service.identity import audit
from service.identity.queries import get_active_project, get_project

Recipient = Annotated[str, msgspec.Meta(min_length=1, max_length=320)]


class SetNotificationChannel(RequestModel, frozen=True, kw_only=True):
    """The recipients of an e-mail. They are stored and shown, but Tunegate sends a webhook event and no e-mail."""

    type: Literal["email"]
    recipients: Annotated[list[Recipient], msgspec.Meta(max_length=100)]
    subject_prefix: Annotated[str, msgspec.Meta(max_length=256)] | None = None


class SetSpendAlert(RequestModel, frozen=True, kw_only=True):
    """A threshold in cents for every calendar month, in UTC."""

    currency: Literal["USD"]
    interval: Literal["month"]
    threshold_amount: Cents
    notification_channel: SetNotificationChannel


class ListSpendAlerts(PageQuery, frozen=True, kw_only=True):
    """The query of both lists."""

    before: str | None = None
    order: Literal["asc", "desc"] = "desc"


class NotificationChannel(msgspec.Struct, frozen=True, kw_only=True):
    """The channel as it was set."""

    type: Literal["email"] = "email"
    recipients: list[str]
    subject_prefix: str | None


class SpendAlertObject(msgspec.Struct, frozen=True, kw_only=True):
    """A spend alert."""

    id: str
    object: Literal["organization.spend_alert", "project.spend_alert"]
    currency: Literal["USD"] = "USD"
    interval: Literal["month"] = "month"
    threshold_amount: int
    notification_channel: NotificationChannel


class SpendAlertDeleted(msgspec.Struct, frozen=True, kw_only=True):
    """The response to a deletion."""

    id: str
    object: Literal["organization.spend_alert.deleted", "project.spend_alert.deleted"]
    deleted: bool = True


@post(
    "/projects/{project_id:str}/spend_alerts",
    status_code=200,
    summary="Create a project's spend alert",
    opt=operation(returns=SpendAlertObject, body=SetSpendAlert),
)
async def create_project_alert(request: ApiRequest, project_id: FromPath[str]) -> SpendAlertObject:
    """`spend_alert.triggered` is sent when a cost brings the month to the threshold, once a month."""
    return await _create(request, project_id)


@get(
    "/projects/{project_id:str}/spend_alerts",
    summary="List a project's spend alerts",
    opt=operation(returns=Page[SpendAlertObject], query=ListSpendAlerts),
)
async def list_project_alerts(request: ApiRequest, project_id: FromPath[str]) -> Page[SpendAlertObject]:
    """Alerts, newest first unless `order=asc`."""
    return await _list(request, project_id)


@get(
    "/projects/{project_id:str}/spend_alerts/{alert_id:str}",
    summary="Retrieve a project's spend alert",
    opt=operation(returns=SpendAlertObject),
)
async def get_project_alert(
    request: ApiRequest, project_id: FromPath[str], alert_id: FromPath[str]
) -> SpendAlertObject:
    """One alert with its threshold."""
    return await _get(request, project_id, alert_id)


@post(
    "/projects/{project_id:str}/spend_alerts/{alert_id:str}",
    status_code=200,
    summary="Update a project's spend alert",
    opt=operation(returns=SpendAlertObject, body=SetSpendAlert),
)
async def update_project_alert(
    request: ApiRequest, project_id: FromPath[str], alert_id: FromPath[str]
) -> SpendAlertObject:
    """Replace it. A higher threshold can trigger again in the same month, a lower one cannot."""
    return await _update(request, project_id, alert_id)


@delete(
    "/projects/{project_id:str}/spend_alerts/{alert_id:str}",
    status_code=200,
    summary="Delete a project's spend alert",
    opt=operation(returns=SpendAlertDeleted),
)
async def delete_project_alert(
    request: ApiRequest, project_id: FromPath[str], alert_id: FromPath[str]
) -> SpendAlertDeleted:
    """The alert no longer triggers."""
    await _delete(request, project_id, alert_id)
    return SpendAlertDeleted(id=alert_id, object="project.spend_alert.deleted")


@post(
    "/spend_alerts",
    status_code=200,
    summary="Create a spend alert of the organisation",
    opt=operation(returns=SpendAlertObject, body=SetSpendAlert),
)
async def create_organization_alert(request: ApiRequest) -> SpendAlertObject:
    """Covers all projects together. Its event goes to the endpoints of the project whose cost reaches the threshold."""
    return await _create(request, None)


@get(
    "/spend_alerts",
    summary="List the organisation's spend alerts",
    opt=operation(returns=Page[SpendAlertObject], query=ListSpendAlerts),
)
async def list_organization_alerts(request: ApiRequest) -> Page[SpendAlertObject]:
    """Alerts, newest first unless `order=asc`."""
    return await _list(request, None)


@get(
    "/spend_alerts/{alert_id:str}",
    summary="Retrieve a spend alert of the organisation",
    opt=operation(returns=SpendAlertObject),
)
async def get_organization_alert(request: ApiRequest, alert_id: FromPath[str]) -> SpendAlertObject:
    """One alert with its threshold."""
    return await _get(request, None, alert_id)


@post(
    "/spend_alerts/{alert_id:str}",
    status_code=200,
    summary="Update a spend alert of the organisation",
    opt=operation(returns=SpendAlertObject, body=SetSpendAlert),
)
async def update_organization_alert(request: ApiRequest, alert_id: FromPath[str]) -> SpendAlertObject:
    """Replace it. A higher threshold can trigger again in the same month, a lower one cannot."""
    return await _update(request, None, alert_id)


@delete(
    "/spend_alerts/{alert_id:str}",
    status_code=200,
    summary="Delete a spend alert of the organisation",
    opt=operation(returns=SpendAlertDeleted),
)
async def delete_organization_alert(request: ApiRequest, alert_id: FromPath[str]) -> SpendAlertDeleted:
    """The alert no longer triggers."""
    await _delete(request, None, alert_id)
    return SpendAlertDeleted(id=alert_id, object="organization.spend_alert.deleted")


async def _create(request: ApiRequest, project_id: str | None) -> SpendAlertObject:
    body, _ = await read_body(request, SetSpendAlert)
    async with resource(request, Database).admin() as session:
        if project_id is not None:
            await get_active_project(session, project_id)
        row = await alerts.create_alert(
            session,
            project_id=project_id,
            threshold_micros=micros_of_cents(body.threshold_amount),
            recipients=body.notification_channel.recipients,
            subject_prefix=body.notification_channel.subject_prefix,
        )
        await audit.record(
            session,
            audit.actor_of(request),
            "spend_alert.created",
            project_id=project_id,
            resource_id=row.id,
            data={"threshold_amount": body.threshold_amount},
        )
        return _show(row)


async def _list(request: ApiRequest, project_id: str | None) -> Page[SpendAlertObject]:
    query = read_query(request, ListSpendAlerts)
    async with resource(request, Database).admin() as session:
        if project_id is not None:
            await get_project(session, project_id)
        rows, more = await alerts.list_alerts(
            session, project_id, after=query.after, before=query.before, limit=query.limit, order=query.order
        )
    return Page(
        data=[_show(row) for row in rows],
        first_id=rows[0].id if rows else None,
        last_id=rows[-1].id if rows else None,
        has_more=more,
    )


async def _get(request: ApiRequest, project_id: str | None, alert_id: str) -> SpendAlertObject:
    async with resource(request, Database).admin() as session:
        if project_id is not None:
            await get_project(session, project_id)
        return _show(await alerts.get_alert(session, project_id, alert_id))


async def _update(request: ApiRequest, project_id: str | None, alert_id: str) -> SpendAlertObject:
    body, _ = await read_body(request, SetSpendAlert)
    async with resource(request, Database).admin() as session:
        if project_id is not None:
            await get_active_project(session, project_id)
        row = await alerts.get_alert(session, project_id, alert_id, lock=True)
        row.threshold_micros = micros_of_cents(body.threshold_amount)
        row.recipients = body.notification_channel.recipients
        row.subject_prefix = body.notification_channel.subject_prefix
        await audit.record(
            session,
            audit.actor_of(request),
            "spend_alert.updated",
            project_id=project_id,
            resource_id=row.id,
            data={"threshold_amount": body.threshold_amount},
        )
        return _show(row)


async def _delete(request: ApiRequest, project_id: str | None, alert_id: str) -> None:
    async with resource(request, Database).admin() as session:
        if project_id is not None:
            await get_project(session, project_id)
        await alerts.delete_alert(session, project_id, alert_id)
        await audit.record(
            session, audit.actor_of(request), "spend_alert.deleted", project_id=project_id, resource_id=alert_id
        )


def _show(row: Alert) -> SpendAlertObject:
    return SpendAlertObject(
        id=row.id,
        object="project.spend_alert" if isinstance(row, SpendAlert) else "organization.spend_alert",
        threshold_amount=cents_of(row.threshold_micros),
        notification_channel=NotificationChannel(recipients=row.recipients, subject_prefix=row.subject_prefix),
    )


ADMIN_ROUTES = [
    create_project_alert,
    list_project_alerts,
    get_project_alert,
    update_project_alert,
    delete_project_alert,
    create_organization_alert,
    list_organization_alerts,
    get_organization_alert,
    update_organization_alert,
    delete_organization_alert,
]
