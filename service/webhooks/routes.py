"""`/v1/webhook_endpoints`, `/v1/webhook_event_types` and `/v1/webhook_deliveries`."""

import datetime as dt
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import msgspec
from litestar import Response, delete, get, post
from litestar.params import FromPath
from msgspec import UNSET
from sqlalchemy.ext.asyncio import AsyncSession

from service.database.encryption import Sealer
from service.database.engine import Database
from service.http.bodies import read_body, read_query
from service.http.idempotency import answer_once
from service.http.operation import operation
from service.http.pagination import page_of
from service.http.resources import ApiRequest, resource
from service.http.wire_types import NoFields, Page, PageQuery
from service.identity import audit
from service.identity.requests import caller, request_identity_of
from service.webhooks import actions
from service.webhooks.event_types import EVENT_TYPES
from service.webhooks.queries import get_endpoint, list_deliveries, list_endpoints, with_attempts
from service.webhooks.schemas import (
    CreateEndpoint,
    Delivery,
    Endpoint,
    EndpointDeleted,
    EndpointWithSecret,
    EventTypeList,
    ListDeliveries,
    Recover,
    Recovery,
    RotateSecret,
    SendTest,
    TestResult,
    UpdateEndpoint,
    show_delivery,
    show_endpoint,
    show_with_secret,
)
from service.webhooks.sender import Sender


@post(
    "/webhook_endpoints",
    status_code=200,
    summary="Create a webhook endpoint",
    opt=operation(returns=EndpointWithSecret, body=CreateEndpoint, creates=True),
)
async def create_endpoint(request: ApiRequest) -> Response[bytes]:
    """Create an endpoint that receives events at a URL. Only this response shows the signing secret."""
    sealer = resource(request, Sealer)
    who = caller(request)
    body, body_sha256 = await read_body(request, CreateEndpoint)
    await resource(request, Sender).check(body.url, project_id=who.project_id)

    async def act(session: AsyncSession) -> EndpointWithSecret:
        row, secret = await actions.create_endpoint(session, sealer, who.project_id, body)
        await _record(session, request, "webhook_endpoint.created", row.id, _audit_data(body))
        return show_with_secret(row, secret)

    return await answer_once(resource(request, Database), request_identity_of(request, body_sha256), act, sealer=sealer)


@get(
    "/webhook_endpoints",
    summary="List webhook endpoints",
    opt=operation(returns=Page[Endpoint], query=PageQuery),
)
async def get_endpoints(request: ApiRequest) -> Page[Endpoint]:
    """The project's endpoints, newest first."""
    query, who = read_query(request, PageQuery), caller(request)
    async with resource(request, Database).project(who.project_id) as session:
        rows = await list_endpoints(session, who.project_id, query)
    return page_of(rows, query.limit, show_endpoint, lambda endpoint: endpoint.id)


@get(
    "/webhook_endpoints/{endpoint_id:str}",
    summary="Retrieve a webhook endpoint",
    opt=operation(returns=Endpoint),
)
async def get_one_endpoint(request: ApiRequest, endpoint_id: FromPath[str]) -> Endpoint:
    """One endpoint; `disabled_reason` says why it receives nothing, if it is disabled."""
    who = caller(request)
    async with resource(request, Database).project(who.project_id) as session:
        return show_endpoint(await get_endpoint(session, who.project_id, endpoint_id))


@post(
    "/webhook_endpoints/{endpoint_id:str}",
    status_code=200,
    summary="Update a webhook endpoint",
    opt=operation(returns=Endpoint, body=UpdateEndpoint),
)
async def update_endpoint(request: ApiRequest, endpoint_id: FromPath[str]) -> Endpoint:
    """Change the name, the URL or the whole set of event types. A disabled endpoint is enabled again."""
    who = caller(request)
    body, _ = await read_body(request, UpdateEndpoint)
    if body.url is not UNSET:
        await resource(request, Sender).check(body.url, project_id=who.project_id)
    async with resource(request, Database).project(who.project_id) as session:
        row = await actions.update_endpoint(session, who.project_id, endpoint_id, body)
        await _record(session, request, "webhook_endpoint.updated", row.id, _audit_data(body))
        return show_endpoint(row)


@delete(
    "/webhook_endpoints/{endpoint_id:str}",
    status_code=200,
    summary="Delete a webhook endpoint",
    opt=operation(returns=EndpointDeleted),
)
async def delete_endpoint(request: ApiRequest, endpoint_id: FromPath[str]) -> EndpointDeleted:
    """Stop sending to an endpoint; its pending deliveries end as failed."""
    who = caller(request)
    async with resource(request, Database).project(who.project_id) as session:
        await actions.delete_endpoint(session, who.project_id, endpoint_id)
        await _record(session, request, "resource.deleted", endpoint_id, {"resource_type": "webhook_endpoint"})
    return EndpointDeleted(id=endpoint_id)


@post(
    "/webhook_endpoints/{endpoint_id:str}/rotate_secret",
    status_code=200,
    summary="Rotate a webhook endpoint's signing secret",
    opt=operation(returns=EndpointWithSecret, body=RotateSecret, creates=True),
)
async def rotate_secret(request: ApiRequest, endpoint_id: FromPath[str]) -> Response[bytes]:
    """Create a new signing secret, shown only in this response. The old one can sign too for 24 hours."""
    sealer = resource(request, Sealer)
    who = caller(request)
    body, body_sha256 = await read_body(request, RotateSecret)

    async def act(session: AsyncSession) -> EndpointWithSecret:
        row, secret = await actions.rotate_secret(
            session,
            sealer,
            who.project_id,
            endpoint_id,
            keep_old=body.keep_old_secret_active_for_24_hours,
        )
        data = {"old_secret_kept": body.keep_old_secret_active_for_24_hours}
        await _record(session, request, "webhook_endpoint.secret_rotated", row.id, data)
        return show_with_secret(row, secret)

    return await answer_once(resource(request, Database), request_identity_of(request, body_sha256), act, sealer=sealer)


@post(
    "/webhook_endpoints/{endpoint_id:str}/test",
    status_code=200,
    summary="Send a sample event to a webhook endpoint",
    opt=operation(returns=TestResult, body=SendTest),
)
async def test_endpoint(request: ApiRequest, endpoint_id: FromPath[str]) -> TestResult:
    """Send a signed sample now, whatever the subscription. Responds with 400 when the target does not respond."""
    who = caller(request)
    body, _ = await read_body(request, SendTest)
    async with resource(request, Database).project(who.project_id) as session:
        endpoint = await get_endpoint(session, who.project_id, endpoint_id)
    return await actions.send_test(
        resource(request, Sender), resource(request, Sealer), endpoint, body.event_type, now=dt.datetime.now(dt.UTC)
    )


@get("/webhook_event_types", summary="List webhook event types", opt=operation(returns=EventTypeList))
async def get_event_types(request: ApiRequest) -> EventTypeList:
    """Every type that an endpoint can subscribe to, with its meaning."""
    return EventTypeList(data=list(EVENT_TYPES), descriptions=dict(EVENT_TYPES))


@get(
    "/webhook_endpoints/{endpoint_id:str}/deliveries",
    summary="List a webhook endpoint's deliveries",
    opt=operation(returns=Page[Delivery], query=ListDeliveries),
)
async def get_deliveries(request: ApiRequest, endpoint_id: FromPath[str]) -> Page[Delivery]:
    """Deliveries, newest first, with every attempt's status, latency and start of the response. `?status=` filters."""
    query, who = read_query(request, ListDeliveries), caller(request)
    async with resource(request, Database).project(who.project_id) as session:
        await get_endpoint(session, who.project_id, endpoint_id)
        deliveries = await list_deliveries(session, who.project_id, endpoint_id, query)
    return page_of(
        deliveries,
        query.limit,
        lambda each: show_delivery(each.row, each.event_type, each.attempts),
        lambda delivery: delivery.id,
    )


@post(
    "/webhook_deliveries/{delivery_id:str}/redeliver",
    status_code=200,
    summary="Send a delivery again",
    opt=operation(returns=Delivery),
)
async def redeliver(request: ApiRequest, delivery_id: FromPath[str]) -> Delivery:
    """Send a delivery now, with the same `webhook-id`; its retry schedule restarts."""
    await read_body(request, NoFields)
    who = caller(request)
    async with resource(request, Database).project(who.project_id) as session:
        row = await actions.redeliver(session, who.project_id, delivery_id)
        (shown,) = await with_attempts(session, who.project_id, [row])
    return show_delivery(shown.row, shown.event_type, shown.attempts)


@post(
    "/webhook_endpoints/{endpoint_id:str}/recover",
    status_code=200,
    summary="Recover a webhook endpoint's missed events",
    opt=operation(returns=Recovery, body=Recover),
)
async def recover(request: ApiRequest, endpoint_id: FromPath[str]) -> Recovery:
    """Send, since a time, failed deliveries and events that happened while the endpoint was disabled or missing."""
    who = caller(request)
    body, _ = await read_body(request, Recover)
    since = dt.datetime.fromtimestamp(body.since, dt.UTC)
    async with resource(request, Database).project(who.project_id) as session:
        count, has_more = await actions.recover(session, who.project_id, endpoint_id, since=since)
    return Recovery(webhook_endpoint_id=endpoint_id, since=body.since, deliveries=count, has_more=has_more)


async def _record(
    session: AsyncSession, request: ApiRequest, type: str, endpoint_id: str, data: Mapping[str, Any]
) -> None:
    who = caller(request)
    await audit.record(
        session, audit.actor_of(request), type, project_id=who.project_id, resource_id=endpoint_id, data=data
    )


def _audit_data(body: CreateEndpoint | UpdateEndpoint) -> dict[str, Any]:
    """The fields for the audit log: of a URL only the host, because the rest may contain a secret."""
    data: dict[str, Any] = msgspec.to_builtins(body)
    if "url" in data:
        data["host"] = urlsplit(data.pop("url")).hostname
    return data


ROUTES = [
    create_endpoint,
    get_endpoints,
    get_one_endpoint,
    update_endpoint,
    delete_endpoint,
    rotate_secret,
    test_endpoint,
    get_event_types,
    get_deliveries,
    redeliver,
    recover,
]
