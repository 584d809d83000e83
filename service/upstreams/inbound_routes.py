"""`/v1/upstreams/{id}/events`: for upstreams, which have no key of ours and sign what they send."""

import msgspec
from litestar import post
from litestar.params import FromPath

from service.database.encryption import Sealer
from service.database.engine import Database
from service.http.bodies import check_address
from service.http.login_throttle import LoginThrottle
from service.http.operation import operation
from service.http.resources import ApiRequest, resource
from service.identity.audit import actor_of
from service.upstreams import inbound_webhooks


class EventReceived(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to every webhook whose signature is good, known job or not."""

    object: str = "upstream.event"
    received: bool = True


@post(
    "/v1/upstreams/{upstream_id:str}/events",
    status_code=200,
    summary="Tell of an upstream job",
    opt=operation(returns=EventReceived, keyless=True),
    request_max_body_size=inbound_webhooks.MAX_BODY_BYTES,
)
async def post_event(request: ApiRequest, upstream_id: FromPath[str]) -> EventReceived:
    """For the upstream's webhooks, signed by Standard Webhooks: the job that an event names is looked at now."""
    check_address(request, None)
    body = await request.body()

    async def act() -> None:
        signature = inbound_webhooks.presented(request.headers)
        async with resource(request, Database).worker() as session:
            await inbound_webhooks.check(session, resource(request, Sealer), upstream_id, signature, body)
            await inbound_webhooks.take_notice(session, upstream_id, signature["webhook-id"], body)

    signed = request.headers.get("webhook-signature", "")[: inbound_webhooks.MAX_HEADER]
    await resource(request, LoginThrottle).throttle(actor_of(request).ip_address, signed, act)
    return EventReceived()


ROUTES = [post_event]
