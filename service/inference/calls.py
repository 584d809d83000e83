"""Asking a model: the call goes to the upstream that serves it, under our names on both sides."""

import asyncio
from typing import Any

import httpx2
import msgspec
import structlog
from litestar import Response
from litestar.background_tasks import BackgroundTask
from litestar.response import Stream

from service.errors import ApiError, InvalidRequest, QuotaExceeded, RateLimited, Unavailable
from service.inference.metering import Meter, MeteredCall
from service.inference.requests import USAGE, InferenceRequest
from service.inference.streaming import Relay
from service.upstreams.port import Completion, CompletionStream, Upstream

log = structlog.get_logger()


async def ask(request: InferenceRequest, *, meter: Meter, api_key_id: str, seconds: float) -> Response[bytes] | Stream:
    """Pass the request on and the answer back, within `seconds`, and have it metered.

    Raises `QuotaExceeded` over a limit, and what the upstream's refusal means for our caller.
    """
    metered_call = await meter.open(request, api_key_id=api_key_id)
    try:
        async with asyncio.timeout(seconds):
            answer = await _sent(request.upstream, request)
    except (httpx2.HTTPError, TimeoutError) as error:
        await metered_call.void()
        log.warning("inference.unreachable", error=type(error).__name__)
        raise Unavailable(
            "The upstream that serves this model does not answer. Try again.", code="upstream_unavailable"
        ) from None
    if not isinstance(answer, Completion):
        return _streamed(answer, request, metered_call, seconds)
    if not 200 <= answer.status < 300:
        await metered_call.void()
        raise refusal_of(answer, request)
    metered_call.observe(answer.body)
    await metered_call.post()
    return Response(msgspec.json.encode(_ours(answer.body, request)), media_type="application/json")


async def _sent(upstream: Upstream, request: InferenceRequest) -> Completion | CompletionStream:
    """The answer. A stream is asked for its usage, unless the upstream does not know how."""
    if not request.body.get("stream"):
        return await upstream.complete(request.path, request.body)
    asked = {**request.body, USAGE: {**(request.body.get(USAGE) or {}), "include_usage": True}}
    answer = await upstream.stream(request.path, asked)
    if isinstance(answer, Completion) and answer.status in (400, 422) and USAGE not in request.body:
        error = answer.body.get("error")
        if USAGE in str(error) or "include_usage" in str(error):
            return await upstream.stream(request.path, request.body)
    return answer


def _streamed(answer: CompletionStream, request: InferenceRequest, metered_call: MeteredCall, seconds: float) -> Stream:
    relay = Relay(
        answer,
        metered_call,
        shown=lambda chunk: _ours(chunk, request),
        with_usage=bool((request.body.get(USAGE) or {}).get("include_usage")),
        seconds=seconds,
    )
    return Stream(
        relay,
        media_type="text/event-stream",
        headers={"cache-control": "no-cache"},
        background=BackgroundTask(relay.hang_up),
    )


def _ours(body: dict[str, Any], request: InferenceRequest) -> dict[str, Any]:
    return {**body, "model": request.model} if "model" in body else body


def refusal_of(answer: Completion, request: InferenceRequest) -> ApiError:
    """What an upstream's refusal means for our caller, in our names."""
    error = answer.body.get("error")
    detail: dict[str, Any] = error if isinstance(error, dict) else {}
    message = str(detail.get("message") or f"HTTP {answer.status}").replace(request.upstream_model, request.model)
    code = str(detail.get("code")) if detail.get("code") else None
    param = str(detail.get("param")) if detail.get("param") else None
    match answer.status:
        case 429 if code == "insufficient_quota":
            log.error("inference.upstream_quota")
            return QuotaExceeded("The upstream account is out of quota. Tell the platform team.")
        case 429:
            return RateLimited(message, retry_after_seconds=min(answer.retry_after_seconds or 1, 120))
        case 400 | 404 | 413 | 415 | 422:
            return InvalidRequest(message, param=param, code=code)
        case _:
            log.error("inference.upstream_refused", status=answer.status)
            return Unavailable(
                f"The upstream that serves this model answered {answer.status}. Try again.", code="upstream_unavailable"
            )
