"""Asking a model: the call goes to the upstream that serves it, under our names on both sides."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, NoReturn

import httpx2
import msgspec
import structlog
from litestar import Response
from litestar.response import Stream
from prometheus_client import Counter

from service.db import Database
from service.errors import InvalidRequest, NotFound, QuotaExceeded, RateLimited, Unavailable
from service.http.bodies import plain
from service.models.catalogue import Catalogue
from service.models.queries import find_model
from service.upstream.port import Completion, CompletionStream, Upstream

log = structlog.get_logger()

TOKENS = Counter("tunegate_inference_tokens_total", "Tokens of inference.", ["project", "direction"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A call: our name of the model, the upstream's, and the body to send."""

    path: str
    model: str
    upstream_model: str
    project_id: str
    body: dict[str, Any]


async def read_question(raw: bytes, *, path: str, db: Database, catalogue: Catalogue, project_id: str) -> Question:
    """Decode the body and look the model up. Raises `InvalidRequest`, or `NotFound` for a model of nobody here."""
    body = plain(raw or b"{}")
    if not isinstance(body, dict):
        raise InvalidRequest("The body must be a JSON object.", code="invalid_type")
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise InvalidRequest("Missing required parameter: 'model'.", param="model", code="missing_required_parameter")
    if body.get("stream") not in (None, False, True):
        raise InvalidRequest("'stream' must be true or false.", param="stream", code="invalid_type")
    if catalogue.find(model) is not None:
        upstream_model = model
    else:
        async with db.project(project_id) as session:
            tuned = await find_model(session, project_id, model) if "\0" not in model else None
        if tuned is None:
            raise NotFound(
                f"The model '{model[:128]}' does not exist or you may not use it. GET /v1/models lists yours.",
                param="model",
                code="model_not_found",
            )
        upstream_model = tuned.upstream_name
    return Question(
        path=path,
        model=model,
        upstream_model=upstream_model,
        project_id=project_id,
        body={**body, "model": upstream_model},
    )


async def ask(upstream: Upstream, question: Question) -> Response[bytes] | Stream:
    """Pass the question on and the answer back. Raises what the upstream's refusal means for our caller."""
    try:
        if question.body.get("stream"):
            answer = await upstream.stream(question.path, question.body)
            if not isinstance(answer, Completion):
                return Stream(
                    _streamed(answer, question),
                    media_type="text/event-stream",
                    headers={"cache-control": "no-cache"},
                )
        else:
            answer = await upstream.complete(question.path, question.body)
    except httpx2.HTTPError as error:
        log.warning("inference.unreachable", error=type(error).__name__)
        raise Unavailable(
            "The upstream that serves this model does not answer. Try again.", code="upstream_unavailable"
        ) from None
    if not 200 <= answer.status < 300:
        _refuse(answer, question)
    _count(answer.body, question)
    return Response(msgspec.json.encode(_ours(answer.body, question)), media_type="application/json")


async def _streamed(answer: CompletionStream, question: Question) -> AsyncIterator[bytes]:
    try:
        async for chunk in answer:
            _count(chunk, question)
            yield b"data: " + msgspec.json.encode(_ours(chunk, question)) + b"\n\n"
    except httpx2.HTTPError:
        broken = {
            "error": {
                "message": "The upstream ended the stream early. Try again.",
                "type": "server_error",
                "param": None,
                "code": "upstream_unavailable",
            }
        }
        yield b"data: " + msgspec.json.encode(broken) + b"\n\n"
    finally:
        await answer.aclose()
    yield b"data: [DONE]\n\n"


def _ours(body: dict[str, Any], question: Question) -> dict[str, Any]:
    return {**body, "model": question.model} if "model" in body else body


def _count(body: dict[str, Any], question: Question) -> None:
    usage = body.get("usage")
    if isinstance(usage, dict):
        for direction, key in (("input", "prompt_tokens"), ("output", "completion_tokens")):
            tokens = usage.get(key)
            if isinstance(tokens, int) and tokens > 0:
                TOKENS.labels(question.project_id, direction).inc(tokens)


def _refuse(answer: Completion, question: Question) -> NoReturn:
    error = answer.body.get("error")
    detail: dict[str, Any] = error if isinstance(error, dict) else {}
    message = str(detail.get("message") or f"HTTP {answer.status}").replace(question.upstream_model, question.model)
    code = str(detail.get("code")) if detail.get("code") else None
    param = str(detail.get("param")) if detail.get("param") else None
    match answer.status:
        case 429 if code == "insufficient_quota":
            log.error("inference.upstream_quota")
            raise QuotaExceeded("The upstream account is out of quota. Tell the platform team.")
        case 429:
            raise RateLimited(message, retry_after_seconds=min(answer.retry_after_seconds or 1, 120))
        case 400 | 404 | 413 | 415 | 422:
            raise InvalidRequest(message, param=param, code=code)
        case _:
            log.error("inference.upstream_refused", status=answer.status)
            raise Unavailable(
                f"The upstream that serves this model answered {answer.status}. Try again.", code="upstream_unavailable"
            )
