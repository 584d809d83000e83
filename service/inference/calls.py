"""Calls of the upstream that serves a model: metered, and with the caller's names in requests, answers and errors."""

import asyncio
from functools import partial
from typing import Any

import httpx2
import msgspec
import structlog
from litestar import Response
from litestar.background_tasks import BackgroundTask
from litestar.response import Stream

from service.errors import ApiError, BadAnswer, InvalidRequest, QuotaExceeded, RateLimited, Unavailable
from service.inference.metering import Meter, MeteredCall
from service.inference.relay_pace import RelayPaces
from service.inference.requests import STREAM_OPTIONS, InferenceRequest
from service.inference.streaming import Relay
from service.off_loop import off_loop
from service.project_memory import MemoryReservation
from service.upstreams.port import AnswerRefused, Completion, CompletionStream

log = structlog.get_logger()

ANSWER_BYTES = 1024 * 1024
"""The memory that a call occupies for its answer before it is sent, so that no usual answer is refused for the lack of
memory when its tokens are spent. An answer of 16,000 tokens has some 100 KB."""


async def call_upstream(
    request: InferenceRequest,
    *,
    meter: Meter,
    api_key_id: str,
    memory: MemoryReservation,
    paces: RelayPaces,
    timeout_seconds: float,
) -> Response[bytes] | Stream:
    """Reserve the call's cost, send it, and return the upstream's answer; the cost is posted or voided.

    Raises `QuotaExceeded` when a limit leaves no room, `Unavailable` when the upstream does not answer within
    `timeout_seconds`, `BadAnswer` when its answer exceeds a limit, and what `refusal_of` makes of a refusal. `memory`
    counts the answer, and has `ANSWER_BYTES` for it already.
    """
    metered_call = await meter.open(request, api_key_id=api_key_id)
    try:
        async with asyncio.timeout(timeout_seconds):
            answer = await _send(request, memory)
    except AnswerRefused as refused:
        metered_call.cut_off()
        await metered_call.void()
        log.warning("inference.answer_refused", reason=str(refused))
        raise BadAnswer(f"The upstream's answer is refused: {refused}. Ask for a shorter answer.") from None
    except (httpx2.HTTPError, TimeoutError) as error:
        await metered_call.void()
        log.warning("inference.upstream_unreachable", error=type(error).__name__)
        raise Unavailable(
            "The upstream that serves this model does not answer. Try again.", code="upstream_unavailable"
        ) from None
    if not isinstance(answer, Completion):
        return _stream(answer, request, metered_call, memory, paces, timeout_seconds)
    if not 200 <= answer.status < 300:
        await metered_call.void()
        raise refusal_of(answer, request)
    metered_call.observe(answer.body, memory)
    await metered_call.post()
    content = await off_loop(answer.size_bytes, msgspec.json.encode, _with_our_name(answer.body, request))
    return Response(content, media_type="application/json")


async def _send(request: InferenceRequest, memory: MemoryReservation) -> Completion | CompletionStream:
    """Streams are requested with their usage; an upstream that refuses `stream_options` gets the request without."""
    upstream = request.route.upstream
    if not request.body.get("stream"):
        return await upstream.complete(request.path, request.body, memory=memory, size_bytes=request.size_bytes)
    options = {**(request.body.get(STREAM_OPTIONS) or {}), "include_usage": True}
    answer = await upstream.stream(
        request.path, {**request.body, STREAM_OPTIONS: options}, memory=memory, size_bytes=request.size_bytes
    )
    if isinstance(answer, Completion) and answer.status in (400, 422) and STREAM_OPTIONS not in request.body:
        error = answer.body.get("error")
        if STREAM_OPTIONS in str(error) or "include_usage" in str(error):
            return await upstream.stream(request.path, request.body, memory=memory, size_bytes=request.size_bytes)
    return answer


def _stream(
    answer: CompletionStream,
    request: InferenceRequest,
    metered_call: MeteredCall,
    memory: MemoryReservation,
    paces: RelayPaces,
    timeout_seconds: float,
) -> Stream:
    relay = Relay(
        answer,
        metered_call,
        memory=memory,
        pace=partial(paces.wait, request.project_id),
        rewrite=lambda chunk: _with_our_name(chunk, request),
        with_usage=bool((request.body.get(STREAM_OPTIONS) or {}).get("include_usage")),
        timeout_seconds=timeout_seconds,
    )
    return Stream(
        relay,
        media_type="text/event-stream",
        headers={"cache-control": "no-cache"},
        background=BackgroundTask(relay.hang_up),
    )


def _with_our_name(body: dict[str, Any], request: InferenceRequest) -> dict[str, Any]:
    return {**body, "model": request.route.model} if "model" in body else body


def refusal_of(answer: Completion, request: InferenceRequest) -> ApiError:
    """The error for our caller that stands for an upstream's refusal, with our name of the model in its message."""
    error = answer.body.get("error")
    detail: dict[str, Any] = error if isinstance(error, dict) else {}
    message = str(detail.get("message") or f"HTTP {answer.status}")
    message = message.replace(request.route.upstream_model, request.route.model)
    code = str(detail.get("code")) if detail.get("code") else None
    param = str(detail.get("param")) if detail.get("param") else None
    match answer.status:
        case 429 if code == "insufficient_quota":
            log.error("inference.upstream_quota_exhausted")
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
