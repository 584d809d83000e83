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
from service.inference.metering import Meter, Tab
from service.inference.requests import USAGE, Question
from service.inference.streaming import Relay
from service.upstreams.port import Completion, CompletionStream, Upstream

log = structlog.get_logger()


async def ask(question: Question, *, meter: Meter, api_key_id: str, seconds: float) -> Response[bytes] | Stream:
    """Pass the question on and the answer back, within `seconds`, and have it metered.

    Raises `QuotaExceeded` over a limit, and what the upstream's refusal means for our caller.
    """
    tab = await meter.open(question, api_key_id=api_key_id)
    try:
        async with asyncio.timeout(seconds):
            answer = await _sent(question.upstream, question)
    except (httpx2.HTTPError, TimeoutError) as error:
        await tab.void()
        log.warning("inference.unreachable", error=type(error).__name__)
        raise Unavailable(
            "The upstream that serves this model does not answer. Try again.", code="upstream_unavailable"
        ) from None
    if not isinstance(answer, Completion):
        return _streamed(answer, question, tab, seconds)
    if not 200 <= answer.status < 300:
        await tab.void()
        raise refusal_of(answer, question)
    tab.hear(answer.body)
    await tab.post()
    return Response(msgspec.json.encode(_ours(answer.body, question)), media_type="application/json")


async def _sent(upstream: Upstream, question: Question) -> Completion | CompletionStream:
    """The answer. A stream is asked for its usage, unless the upstream does not know how."""
    if not question.body.get("stream"):
        return await upstream.complete(question.path, question.body)
    asked = {**question.body, USAGE: {**(question.body.get(USAGE) or {}), "include_usage": True}}
    answer = await upstream.stream(question.path, asked)
    if isinstance(answer, Completion) and answer.status in (400, 422) and USAGE not in question.body:
        error = answer.body.get("error")
        if USAGE in str(error) or "include_usage" in str(error):
            return await upstream.stream(question.path, question.body)
    return answer


def _streamed(answer: CompletionStream, question: Question, tab: Tab, seconds: float) -> Stream:
    relay = Relay(
        answer,
        tab,
        shown=lambda chunk: _ours(chunk, question),
        with_usage=bool((question.body.get(USAGE) or {}).get("include_usage")),
        seconds=seconds,
    )
    return Stream(
        relay,
        media_type="text/event-stream",
        headers={"cache-control": "no-cache"},
        background=BackgroundTask(relay.hang_up),
    )


def _ours(body: dict[str, Any], question: Question) -> dict[str, Any]:
    return {**body, "model": question.model} if "model" in body else body


def refusal_of(answer: Completion, question: Question) -> ApiError:
    """What an upstream's refusal means for our caller, in our names."""
    error = answer.body.get("error")
    detail: dict[str, Any] = error if isinstance(error, dict) else {}
    message = str(detail.get("message") or f"HTTP {answer.status}").replace(question.upstream_model, question.model)
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
