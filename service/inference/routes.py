"""`/v1/chat/completions` and `/v1/completions`."""

from litestar import Response, post
from litestar.response import Stream

from service.catalogue.base_models import Catalogue
from service.database.engine import Database
from service.http.azure_urls import deployment_of
from service.http.bodies import json_body
from service.http.operation import operation
from service.http.request_memory import reservation_of
from service.http.resources import ApiRequest, resource
from service.identity.requests import caller
from service.inference.calls import ANSWER_BYTES, call_upstream
from service.inference.metering import Meter
from service.inference.places import occupy_place
from service.inference.relay_pace import RelayPaces
from service.inference.requests import read_inference_request
from service.inference.routing import Router
from service.limits.rates import RateLimitEnforcer, estimated_tokens
from service.off_loop import off_loop
from service.settings import Settings
from service.upstreams.accounts import Accounts

MAX_INFERENCE_BYTES = 64 * 1024 * 1024


@post(
    "/chat/completions",
    status_code=200,
    request_max_body_size=MAX_INFERENCE_BYTES,
    summary="Create a chat completion",
    opt=operation(body=dict, returns=dict),
)
async def post_chat(request: ApiRequest) -> Response[bytes] | Stream:
    """Ask a base model, or a tuned model or alias of the project."""
    return await _complete(request, "/chat/completions")


@post(
    "/completions",
    status_code=200,
    request_max_body_size=MAX_INFERENCE_BYTES,
    summary="Create a completion",
    opt=operation(body=dict, returns=dict),
)
async def post_completion(request: ApiRequest) -> Response[bytes] | Stream:
    """The legacy endpoint, for models that were trained on prompts and completions."""
    return await _complete(request, "/completions")


async def _complete(request: ApiRequest, path: str) -> Response[bytes] | Stream:
    who = caller(request)
    memory = reservation_of(request)
    inference_request = await read_inference_request(
        await json_body(request),
        path=path,
        router=Router(
            db=resource(request, Database), catalogue=resource(request, Catalogue), accounts=resource(request, Accounts)
        ),
        project_id=who.project_id,
        deployment=deployment_of(request.scope),
    )
    await resource(request, RateLimitEnforcer).admit_inference(
        request.scope,
        who,
        model=inference_request.route.rate_limited_model,
        tokens=await off_loop(inference_request.size_bytes, estimated_tokens, inference_request.body),
    )
    occupy_place(request, who.project_id)
    memory.prepay(ANSWER_BYTES)
    return await call_upstream(
        inference_request,
        meter=resource(request, Meter),
        api_key_id=who.key_id,
        memory=memory,
        paces=resource(request, RelayPaces),
        timeout_seconds=resource(request, Settings).inference_timeout_seconds,
    )


ROUTES = [post_chat, post_completion]
