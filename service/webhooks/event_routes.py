"""`/v1/webhook_events`: a project's events as a list and as a stream, and sample events."""

import datetime as dt

from litestar import Response, get, post
from litestar.params import FromPath
from litestar.response import Stream
from sqlalchemy.ext.asyncio import AsyncSession

from service.database.engine import Database
from service.http.bodies import read_body, read_query
from service.http.event_streams import EventStreams
from service.http.idempotency import answer_once
from service.http.operation import operation
from service.http.pagination import page_of
from service.http.resources import ApiRequest, resource
from service.http.wire_types import Page
from service.identity.requests import access_check, caller, request_identity_of
from service.webhooks.actions import check_types, trigger
from service.webhooks.queries import get_event, list_events
from service.webhooks.schemas import Event, ListEvents, TriggerEvent, show_event
from service.webhooks.stream import WebhookEvents


@get(
    "/webhook_events",
    summary="List webhook events",
    opt=operation(returns=Page[Event], query=ListEvents),
)
async def get_events(request: ApiRequest) -> Page[Event] | Stream:
    """Events, newest first; with `stream=true` as server-sent events from now on, or after `Last-Event-ID`."""
    who = caller(request)
    query = read_query(request, ListEvents)
    types = check_types(query.types())
    if query.stream:
        last_event_id = request.headers.get("last-event-id") or query.after
        source = WebhookEvents(resource(request, Database), who.project_id, types, last_event_id)
        return await resource(request, EventStreams).open(who.project_id, source, access_check=access_check(request))
    async with resource(request, Database).project(who.project_id) as session:
        rows = await list_events(session, who.project_id, query)
    return page_of(rows, query.limit, show_event, lambda event: event.id)


@get("/webhook_events/{event_id:str}", summary="Retrieve a webhook event", opt=operation(returns=Event))
async def get_one_event(request: ApiRequest, event_id: FromPath[str]) -> Event:
    """One event, as in the body of its deliveries."""
    who = caller(request)
    async with resource(request, Database).project(who.project_id) as session:
        return show_event(await get_event(session, who.project_id, event_id))


@post(
    "/webhook_events",
    status_code=200,
    summary="Create a sample event",
    opt=operation(returns=Event, body=TriggerEvent, creates=True),
)
async def post_event(request: ApiRequest) -> Response[bytes]:
    """Deliver a sample to every endpoint that subscribed to its type, and to the streams. Its ids end in `sample`."""
    who = caller(request)
    body, sha256 = await read_body(request, TriggerEvent)

    async def act(session: AsyncSession) -> Event:
        return show_event(await trigger(session, who.project_id, body.event_type, now=dt.datetime.now(dt.UTC)))

    return await answer_once(resource(request, Database), request_identity_of(request, sha256), act)


ROUTES = [get_events, get_one_event, post_event]
