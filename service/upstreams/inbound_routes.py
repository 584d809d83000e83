"""`/v1/upstreams/{id}/events`: receives upstreams' webhooks, which have no API key and are signed instead."""

import msgspec
from litestar import post
from litestar.params import FromPath

from service.database.engine import Database
from service.errors import Unauthenticated
from service.http.bodies import check_address
from service.http.client_address import client_address
from service.http.keyless_bodies import KeylessBodies
from service.http.login_throttle import LoginThrottle
from service.http.operation import operation
from service.http.resources import ApiRequest, resource
from service.limits.rates import RateLimitEnforcer
from service.upstreams import inbound_webhooks
from service.upstreams.inbound_checks import MAX_ID, InboundChecks


class EventReceived(msgspec.Struct, frozen=True, kw_only=True):
    """The response to every webhook with a valid signature, whether its job is known or not."""

    object: str = "upstream.event"
    received: bool = True


@post(
    "/v1/upstreams/{upstream_id:str}/events",
    status_code=200,
    summary="Receive an upstream's webhook",
    opt=operation(returns=EventReceived, keyless=True),
    request_max_body_size=inbound_webhooks.MAX_BODY_BYTES,
)
async def post_event(request: ApiRequest, upstream_id: FromPath[str]) -> EventReceived:
    """A webhook signed by Standard Webhooks: the job that its event names is polled now."""
    check_address(request, None)
    body = await resource(request, KeylessBodies).read(request.body)
    checks = resource(request, InboundChecks)
    try:
        signature = inbound_webhooks.signature_headers(request.headers)
        await checks.check(upstream_id, signature, body)
    except Unauthenticated as refused:
        throttle = resource(request, LoginThrottle)
        raise throttle.count(refused, client_address(request.scope), purpose=upstream_id[:MAX_ID]) from None
    await resource(request, RateLimitEnforcer).admit_webhook(upstream_id)
    async with checks.place(upstream_id), resource(request, Database).worker() as session:
        await inbound_webhooks.accept_webhook(session, upstream_id, signature["webhook-id"], body)
    return EventReceived()


ROUTES = [post_event]
