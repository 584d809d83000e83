"""`/v1/chat/completions` and `/v1/completions`, whole or streamed."""

import random
import time
from collections.abc import Iterator
from typing import Annotated, Any

import msgspec
from litestar import Response, post
from litestar.datastructures import State
from litestar.response import ServerSentEvent, ServerSentEventMessage
from msgspec import Meta, Struct

from .. import catalogue
from ..engines.steps import Message, Sampling
from ..examples import parse_messages
from ..ids import new_id
from ..tokens import count_tokens
from .answers import Answer
from .calls import finish_reason, may_be_calls, message_of
from .catalogue_lookup import find_model
from .create import decode
from .errors import ApiError
from .lists import AnyRequest
from .once import Once

_MAX_BYTES = 2_048
"""The longest answer when the request sets no limit."""
MaxTokens = Annotated[int, Meta(ge=1)] | None


class StreamOptions(Struct):
    """Whether a last chunk carries the usage."""

    include_usage: bool = False


class Parameters(Struct):
    """Parameters of both kinds of completion; other OpenAI fields are accepted and ignored."""

    model: str
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: MaxTokens = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    seed: int | None = None
    stop: str | Annotated[list[str], Meta(max_length=4)] | None = None
    n: int | None = None


class ChatParameters(Parameters, kw_only=True):
    """The body of a chat completion."""

    messages: list[Any]
    max_completion_tokens: MaxTokens = None


class TextParameters(Parameters, kw_only=True):
    """The body of a legacy completion."""

    prompt: str | Annotated[list[str], Meta(min_length=1, max_length=1)]
    echo: bool | None = None


@post("/v1/chat/completions", status_code=200, sync_to_thread=True)
def chat(body: bytes, request: AnyRequest, state: State) -> Response[Any] | ServerSentEvent:
    """Answer a conversation; once for each `Idempotency-Key`, unless it is streamed."""
    parameters = decode(body, ChatParameters)
    try:
        context = parse_messages(parameters.messages)
    except ValueError as error:
        raise ApiError(400, str(error), param="messages") from None

    def respond() -> Response[Any] | ServerSentEvent:
        return _respond(
            state, parameters, context, parameters.max_completion_tokens or parameters.max_tokens, _ChatShape()
        )

    key = None if parameters.stream else request.headers.get("idempotency-key")
    once: Once = state.once
    answer: Response[Any] | ServerSentEvent = once.answer(key, body, respond)
    return answer


@post("/v1/completions", status_code=200, sync_to_thread=True)
def complete(body: bytes, state: State) -> Response[Any] | ServerSentEvent:
    """Continue a text; without a limit the answer has at most 16 tokens, as OpenAI's."""
    parameters = decode(body, TextParameters)
    prompt = parameters.prompt if isinstance(parameters.prompt, str) else parameters.prompt[0]
    shape = _TextShape(prompt if parameters.echo else "")
    return _respond(state, parameters, (Message("user", prompt),), parameters.max_tokens or 16, shape)


class _ChatShape:
    prefix, whole, chunk = "chatcmpl-", "chat.completion", "chat.completion.chunk"

    def choice(self, answer: Answer) -> dict[str, Any]:
        message = message_of(answer.text)
        reason = finish_reason(message, answer.finish_reason)
        return {"index": 0, "message": message, "logprobs": None, "finish_reason": reason}

    def pieces(self, answer: Answer) -> Iterator[dict[str, Any]]:
        """Withholds a text that may be function calls until this is decided."""
        yield self._delta({"role": "assistant", "content": ""}, None)
        pieces = answer.pieces()
        withheld = ""
        for piece in pieces:
            withheld += piece
            if not may_be_calls(withheld):
                break
        message = message_of(withheld)
        if message["content"] is None:
            called = {name: value for name, value in message.items() if name in ("tool_calls", "function_call")}
            for place, call in enumerate(called.get("tool_calls", ())):
                call["index"] = place
            yield self._delta(called, None)
        elif withheld:
            yield self._delta({"content": withheld}, None)
        for piece in pieces:
            yield self._delta({"content": piece}, None)
        yield self._delta({}, finish_reason(message, answer.finish_reason))

    @staticmethod
    def _delta(delta: dict[str, Any], finish_reason: str | None) -> dict[str, Any]:
        return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}


class _TextShape:
    prefix, whole, chunk = "cmpl-", "text_completion", "text_completion"

    def __init__(self, echoed: str) -> None:
        self._echoed = echoed

    def choice(self, answer: Answer) -> dict[str, Any]:
        return self._part(self._echoed + answer.text, answer.finish_reason)

    def pieces(self, answer: Answer) -> Iterator[dict[str, Any]]:
        if self._echoed:
            yield self._part(self._echoed, None)
        for piece in answer.pieces():
            yield self._part(piece, None)
        yield self._part("", answer.finish_reason)

    @staticmethod
    def _part(text: str, finish_reason: str | None) -> dict[str, Any]:
        return {"index": 0, "text": text, "logprobs": None, "finish_reason": finish_reason}


_Shape = _ChatShape | _TextShape


def _respond(
    state: State, parameters: Parameters, context: tuple[Message, ...], max_tokens: int | None, shape: _Shape
) -> Response[Any] | ServerSentEvent:
    if parameters.n not in (None, 1):
        raise ApiError(400, "This trainer gives one answer a request: n must be 1.", param="n")
    found = find_model(state.store, parameters.model)
    sampling = Sampling(
        temperature=parameters.temperature or 0.0,
        top_p=1.0 if parameters.top_p is None else parameters.top_p,
        seed=random.getrandbits(32) if parameters.seed is None else parameters.seed % 2**32,
        max_bytes=_MAX_BYTES,
    )
    stop = [parameters.stop] if isinstance(parameters.stop, str) else parameters.stop or []
    answer = Answer(state.serving.model(found), context, sampling, max_tokens, [s for s in stop if s])
    head = {
        "id": new_id(shape.prefix),
        "created": int(time.time()),
        "model": parameters.model,
        "system_fingerprint": catalogue.fingerprint(state.serving.engine_name, found.base),
    }
    if not parameters.stream:
        for _ in answer.pieces():
            pass
        whole = head | {"object": shape.whole, "choices": [shape.choice(answer)], "usage": _usage(answer)}
        return Response(whole, media_type="application/json")
    head["object"] = shape.chunk
    with_usage = parameters.stream_options is not None and parameters.stream_options.include_usage
    return ServerSentEvent(_events(head, shape, answer, with_usage=with_usage))


def _events(
    head: dict[str, Any], shape: _Shape, answer: Answer, *, with_usage: bool
) -> Iterator[ServerSentEventMessage]:
    for choice in shape.pieces(answer):
        yield _event(head | {"choices": [choice]} | ({"usage": None} if with_usage else {}))
    if with_usage:
        yield _event(head | {"choices": [], "usage": _usage(answer)})
    yield ServerSentEventMessage(data="[DONE]")


def _event(chunk: dict[str, Any]) -> ServerSentEventMessage:
    return ServerSentEventMessage(data=msgspec.json.encode(chunk).decode())


def _usage(answer: Answer) -> dict[str, int]:
    read = sum(3 + count_tokens(m.role) + count_tokens(m.text) for m in answer.context) + 3
    said = count_tokens(answer.text)
    return {"prompt_tokens": read, "completion_tokens": said, "total_tokens": read + said}
