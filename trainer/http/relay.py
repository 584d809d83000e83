"""Passes inference to vLLM: the same request with vLLM's name for the model, the same answer with the caller's."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

import httpx2
import msgspec
from anyio import to_thread
from litestar import Response
from litestar.response import Stream

from ..vllm.names import adapter_name
from ..vllm.publisher import Publisher
from ..vllm.servers import CONNECT_SECONDS, NotServed, authorization, error_of, message_of
from . import errors
from .answers import HungUp
from .callers import Caller
from .catalogue_lookup import FoundModel
from .errors import ApiError

_HANG_UP_SECONDS = 0.1
_RETRY_SECONDS = 5
_CONTEXT = "maximum context length"
"""In vLLM's message for a prompt that is too long."""


@dataclass(frozen=True, slots=True)
class _Request:
    path: str
    model: str
    name: str
    body: Mapping[str, Any]


class Relay:
    """Asks vLLM on behalf of callers. A silence of `timeout_seconds` ends a request."""

    def __init__(self, publisher: Publisher, *, api_key: str, timeout_seconds: float) -> None:
        self._publisher = publisher
        self._client = httpx2.AsyncClient(
            headers=authorization(api_key),
            timeout=httpx2.Timeout(timeout_seconds, connect=CONNECT_SECONDS),
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=32),
            trust_env=False,
        )

    async def respond(self, path: str, body: bytes, found: FoundModel, caller: Caller) -> Response[Any]:
        """vLLM's answer to a completion. Raises ApiError, HungUp."""
        try:
            served = await to_thread.run_sync(self._publisher.publish, found.name, found.base, found.weights)
        except NotServed as error:
            raise _unavailable(str(error), "model_not_served") from None
        except FileNotFoundError:
            raise _missing(found.name) from None
        name = served.id if found.weights is None else adapter_name(found.name)
        request = _Request(f"{served.url}{path}", found.name, name, msgspec.json.decode(body))
        if request.body.get("stream"):
            return await self._stream(request, caller)
        answer = await self._send(request, caller, stream=False)
        _check(answer, request)
        return Response(_renamed(answer.content, found.name), media_type="application/json")

    async def _stream(self, request: _Request, caller: Caller) -> Response[Any]:
        answer = await self._send(request, caller, stream=True)
        if answer.status_code != 200:
            try:
                await answer.aread()
            finally:
                await answer.aclose()
        _check(answer, request)
        return Stream(_events(answer, request), media_type="text/event-stream; charset=utf-8")

    async def _send(self, request: _Request, caller: Caller, *, stream: bool) -> httpx2.Response:
        """vLLM's response, with its body or before it. A caller who hangs up ends vLLM's work, too."""
        made = self._client.build_request("POST", request.path, json=dict(request.body) | {"model": request.name})
        sending = asyncio.create_task(self._client.send(made, stream=stream))
        try:
            while not (await asyncio.wait({sending}, timeout=_HANG_UP_SECONDS))[0]:
                if caller.gone:
                    raise HungUp
            return sending.result()
        except httpx2.HTTPError as error:
            raise _lost(error) from None
        finally:
            sending.cancel()


async def _events(answer: httpx2.Response, request: _Request) -> AsyncIterator[bytes]:
    """vLLM's server-sent events as they come. A loss becomes an event with an error, and no `[DONE]` follows."""
    try:
        async for line in answer.aiter_lines():
            if not line.startswith("data:"):
                continue
            data = line.removeprefix("data:").strip()
            if data == "[DONE]":
                yield b"data: [DONE]\n\n"
                return
            chunk = msgspec.json.decode(data)
            if "error" in chunk:
                message = str(error_of(data.encode()).get("message"))
                yield _error_event(ApiError(502, message.replace(request.name, request.model), code="serving_error"))
                return
            yield b"data: " + msgspec.json.encode(chunk | {"model": request.model}) + b"\n\n"
        yield _error_event(_lost(httpx2.ReadError("the stream ended early")))
    except (httpx2.HTTPError, msgspec.DecodeError) as error:
        yield _error_event(_lost(error))
    finally:
        await answer.aclose()


def _check(answer: httpx2.Response, request: _Request) -> None:
    """Raise what vLLM's status means for the caller."""
    if answer.status_code == 200:
        return
    message = message_of(answer.content).replace(request.name, request.model)
    match answer.status_code:
        case 400 if "could not be loaded" in message:
            raise _unavailable(f"vLLM: {message} Its --max-lora-rank may be too small.", "model_not_served")
        case 400 if _CONTEXT in message:
            param = "prompt" if "prompt" in request.body else "messages"
            raise ApiError(400, message, param=param, code="context_length_exceeded")
        case 400 | 413 | 422 | 501:
            named = error_of(answer.content).get("param")
            raise ApiError(400, message, param=named if isinstance(named, str) else None)
        case 401 | 403:
            raise ApiError(502, "vLLM refuses this trainer's key: TRAINER_SERVE_API_KEY.", code="serving_error")
        case 404:
            hint = "start it with --enable-lora and its resolver's three settings (docs/own-hardware.md)"
            raise _unavailable(f"vLLM does not know the model {request.model!r}: {hint}.", "model_not_served")
        case 429 | 503:
            raise _unavailable(f"vLLM is overloaded: {message}", "overloaded")
        case status:
            raise ApiError(502, f"vLLM failed with status {status}: {message}", code="serving_error")


def _renamed(content: bytes, model: str) -> Any:
    try:
        return msgspec.json.decode(content) | {"model": model}
    except (msgspec.DecodeError, TypeError):
        raise ApiError(502, "vLLM answered with something else than a completion.", code="serving_error") from None


def _lost(error: Exception) -> ApiError:
    if isinstance(error, httpx2.ReadTimeout):
        return ApiError(504, "vLLM is silent for longer than TRAINER_SERVE_TIMEOUT_SECONDS.", code="serving_timeout")
    if isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout):
        return _unavailable("vLLM does not answer.", "serving_unavailable")
    return ApiError(502, f"The connection to vLLM was lost: {type(error).__name__}.", code="serving_error")


def _unavailable(message: str, code: str) -> ApiError:
    return ApiError(503, message, code=code, retry_after_seconds=_RETRY_SECONDS)


def _missing(model: str) -> ApiError:
    return ApiError(404, f"The model {model!r} does not exist.", param="model", code="model_not_found")


def _error_event(error: ApiError) -> bytes:
    content = errors.body(error.status, str(error), param=error.param, code=error.code)
    return b"data: " + msgspec.json.encode(content) + b"\n\n"
