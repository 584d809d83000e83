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

from ..engines.port import Sampling
from ..examples import parse_conversation
from ..ids import new_id
from ..rows import Conversation
from .answers import Answer
from .calls import finish_reason, message_of
from .catalogue_lookup import find_base, find_model
from .create import decode
from .errors import ApiError
from .lists import AnyRequest
from .once import Once

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
    tools: list[Any] | None = None
    functions: list[Any] | None = None


class TextParameters(Parameters, kw_only=True):
    """The body of a legacy completion."""

    prompt: str | Annotated[list[str], Meta(min_length=1, max_length=1)]
    echo: bool | None = None


@post("/v1/chat/completions", status_code=200, sync_to_thread=True)
def chat(body: bytes, request: AnyRequest, state: State) -> Response[Any] | ServerSentEvent:
    """Answer a conversation; once for each `Idempotency-Key`, unless it is streamed."""
    parameters = decode(body, ChatParameters)
    try:
        prompt = parse_conversation(msgspec.structs.asdict(parameters))
    except ValueError as error:
        raise ApiError(400, str(error), param="messages") from None

    def respond() -> Response[Any] | ServerSentEvent:
        max_tokens = parameters.max_completion_tokens or parameters.max_tokens
        return _respond(state, parameters, prompt, max_tokens, _ChatShape(older_calls=bool(parameters.functions)))

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
    return _respond(state, parameters, prompt, parameters.max_tokens or 16, shape)


class _ChatShape:
    prefix, whole, chunk = "chatcmpl-", "chat.completion", "chat.completion.chunk"

    def __init__(self, *, older_calls: bool) -> None:
        self._older_calls = older_calls

    def choice(self, answer: Answer) -> dict[str, Any]:
        message = message_of(answer.model, answer.text, older=self._older_calls)
        reason = finish_reason(message, answer.finish_reason)
        return {"index": 0, "message": message, "logprobs": None, "finish_reason": reason}

    def pieces(self, answer: Answer) -> Iterator[dict[str, Any]]:
        """Withholds a text that may be function calls until this is decided."""
        yield self._delta({"role": "assistant", "content": ""}, None)
        pieces = answer.pieces()
        withheld = ""
        for piece in pieces:
            withheld += piece
            if not answer.model.may_be_calls(withheld):
                break
        message = message_of(answer.model, withheld, older=self._older_calls)
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
    state: State, parameters: Parameters, prompt: Conversation | str, max_tokens: int | None, shape: _Shape
) -> Response[Any] | ServerSentEvent:
    if parameters.n not in (None, 1):
        raise ApiError(400, "This trainer gives one answer a request: n must be 1.", param="n")
    found = find_model(state.store, state.engine, parameters.model)
    model = state.serving.model(found)
    sampling = Sampling(
        temperature=model.default_temperature if parameters.temperature is None else parameters.temperature,
        top_p=1.0 if parameters.top_p is None else parameters.top_p,
        seed=random.getrandbits(32) if parameters.seed is None else parameters.seed % 2**32,
        max_tokens=max_tokens,
    )
    stop = [parameters.stop] if isinstance(parameters.stop, str) else parameters.stop or []
    answer = Answer(model, prompt, sampling, [s for s in stop if s])
    head = {
        "id": new_id(shape.prefix),
        "created": int(time.time()),
        "model": parameters.model,
        "system_fingerprint": _fingerprint(state, found.base),
    }
    if not parameters.stream:
        for _ in answer.pieces():
            pass
        whole = head | {"object": shape.whole, "choices": [shape.choice(answer)], "usage": _usage(answer)}
        return Response(whole, media_type="application/json")
    head["object"] = shape.chunk
    with_usage = parameters.stream_options is not None and parameters.stream_options.include_usage
    return ServerSentEvent(_events(head, shape, answer, with_usage=with_usage))


def _fingerprint(state: State, name: str) -> str:
    """The engine that answered, and the model that it stands in for."""
    engine: str = state.engine.name
    base = find_base(state.engine, name)
    return f"{engine}:stands-in-for:{name}" if base is not None and base.stands_in else engine


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
    read, said = answer.model.count(answer.prompt), answer.model.count(answer.text)
    return {"prompt_tokens": read, "completion_tokens": said, "total_tokens": read + said}
