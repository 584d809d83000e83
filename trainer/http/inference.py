"""`/v1/chat/completions` and `/v1/completions`, whole or streamed."""

import logging
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import chain
from typing import Any

import msgspec
from anyio import from_thread, to_thread
from litestar import Response, post
from litestar.datastructures import State
from litestar.response import Stream

from ..engines.port import Busy, Refused, Sampling
from ..examples import parse_conversation
from ..ids import new_id
from ..rows import Conversation
from .answers import Answer, HungUp
from .callers import Caller, answer, relayed, stream
from .catalogue_lookup import find_base, find_model
from .create import decode
from .errors import ApiError
from .lists import AnyRequest
from .once import Once
from .parameters import DEFAULT_TEXT_TOKENS, ChatParameters, Parameters, RelayedParameters, TextParameters
from .relay import Relay
from .shapes import ChatShape, Shape, TextShape

_RETRY_SECONDS = 5
_log = logging.getLogger("trainer")


@post("/v1/chat/completions", status_code=200)
async def chat(body: bytes, request: AnyRequest, state: State) -> Response[Any]:
    """Answer a conversation; once for each `Idempotency-Key`, unless it is streamed."""
    key = request.headers.get("idempotency-key")
    if state.relay is not None:
        return await _relayed(state, request, "/v1/chat/completions", body, key)
    parameters = decode(body, ChatParameters)
    parameters.check()
    prompt = _conversation(parameters)
    shape = ChatShape(
        logprobs=bool(parameters.logprobs),
        older_calls=bool(parameters.functions),
        one_call=parameters.parallel_tool_calls is False,
    )
    sampling = _sampling(
        parameters,
        parameters.max_completion_tokens or parameters.max_tokens,
        (parameters.top_logprobs or 0) if parameters.logprobs else None,
    )
    calls = parameters.calls_allowed()

    def respond(caller: Caller) -> Response[Any]:
        return _respond(state, parameters, prompt, sampling, shape, caller, parses_calls=calls)

    return await _once(state, request, None if parameters.stream else key, body, respond)


@post("/v1/completions", status_code=200)
async def complete(body: bytes, request: AnyRequest, state: State) -> Response[Any]:
    """Continue a text; without a limit the answer has at most 16 tokens, as OpenAI's."""
    if state.relay is not None:
        return await _relayed(state, request, "/v1/completions", body, None)
    parameters = decode(body, TextParameters)
    shape = TextShape(echoed=parameters.text() if parameters.echo else "", top=parameters.logprobs)
    sampling = _sampling(parameters, parameters.max_tokens or DEFAULT_TEXT_TOKENS, parameters.logprobs)

    def respond(caller: Caller) -> Response[Any]:
        return _respond(state, parameters, parameters.text(), sampling, shape, caller, parses_calls=False)

    return await answer(request, state.inference_threads, respond)


async def _relayed(state: State, request: AnyRequest, path: str, body: bytes, key: str | None) -> Response[Any]:
    """vLLM's answer; once for each `Idempotency-Key`, unless it is streamed."""
    relay: Relay = state.relay
    parameters = decode(body, RelayedParameters)
    found = await to_thread.run_sync(find_model, state.store, state.engine, parameters.model)
    if key is None or parameters.stream:
        return await relayed(request, lambda caller: relay.respond(path, body, found, caller))
    return await _once(
        state, request, key, body, lambda caller: from_thread.run(relay.respond, path, body, found, caller)
    )


async def _once(
    state: State, request: AnyRequest, key: str | None, body: bytes, respond: Callable[[Caller], Response[Any]]
) -> Response[Any]:
    once: Once = state.once

    def work(caller: Caller) -> Response[Any]:
        made: Response[Any] = once.answer(key, body, lambda: respond(caller))
        return made

    return await answer(request, state.inference_threads, work)


def _conversation(parameters: ChatParameters) -> Conversation:
    try:
        prompt = parse_conversation(msgspec.structs.asdict(parameters))
    except ValueError as error:
        raise ApiError(400, str(error), param="messages") from None
    return prompt if parameters.calls_allowed() else replace(prompt, tools=())


def _sampling(
    parameters: Parameters, max_tokens: int | None, top_logprobs: int | None
) -> Callable[[float, int], Sampling]:
    """How to generate, given the model's default temperature and the place of the choice."""
    seed = random.getrandbits(32) if parameters.seed is None else parameters.seed

    def choose(default_temperature: float, index: int) -> Sampling:
        return Sampling(
            temperature=default_temperature if parameters.temperature is None else parameters.temperature,
            top_p=1.0 if parameters.top_p is None else parameters.top_p,
            seed=(seed + index) % 2**32,
            max_tokens=max_tokens,
            top_logprobs=top_logprobs,
        )

    return choose


def _respond(
    state: State,
    parameters: Parameters,
    prompt: Conversation | str,
    sampling: Callable[[float, int], Sampling],
    shape: Shape,
    caller: Caller,
    *,
    parses_calls: bool,
) -> Response[Any]:
    found = find_model(state.store, state.engine, parameters.model)
    model = state.serving.model(found)
    answers = [
        Answer(model, prompt, sampling(model.default_temperature, index), parameters.stops(), parses_calls, caller)
        for index in range(parameters.n or 1)
    ]
    head = {
        "id": new_id(shape.prefix),
        "created": int(time.time()),
        "model": parameters.model,
        "system_fingerprint": _fingerprint(state, found.base),
    }
    try:
        if not parameters.stream:
            return Response(_whole(head, shape, answers), media_type="application/json")
        events = _events(head, shape, answers, with_usage=parameters.with_usage())
        begun = _begun(events)
    except (Refused, Busy, FileNotFoundError) as error:
        raise _refusal(error, parameters.model) from None
    return Stream(stream(begun, state.inference_threads, caller), media_type="text/event-stream; charset=utf-8")


def _whole(head: dict[str, Any], shape: Shape, answers: list[Answer]) -> dict[str, Any]:
    choices = []
    for index, made in enumerate(answers):
        for _ in made.pieces():
            pass
        choices.append({"index": index} | shape.choice(made))
    return head | {"object": shape.whole, "choices": choices, "usage": _usage(answers)}


def _events(head: dict[str, Any], shape: Shape, answers: list[Answer], *, with_usage: bool) -> Iterator[bytes]:
    """Server-sent events. The first comes when the first piece is there, so that a refusal has its own status."""
    head = head | {"object": shape.chunk}
    usage = {"usage": None} if with_usage else {}
    try:
        for index, made in enumerate(answers):
            chunks = shape.chunks(made)
            first, second = next(chunks), next(chunks)
            for choice in chain((first, second), chunks):
                yield _event(head | {"choices": [{"index": index} | choice]} | usage)
    except HungUp:
        return
    if with_usage:
        yield _event(head | {"choices": [], "usage": _usage(answers)})
    yield b"data: [DONE]\n\n"


def _begun(events: Iterator[bytes]) -> Iterator[bytes]:
    """The same events once the first is there. Raises HungUp, and what generating raises."""
    first = next(events, None)
    if first is None:
        raise HungUp
    return chain([first], events)


def _event(chunk: dict[str, Any]) -> bytes:
    return b"data: " + msgspec.json.encode(chunk) + b"\n\n"


def _usage(answers: list[Answer]) -> dict[str, int]:
    read = answers[0].model.count(answers[0].prompt)
    said = sum(made.completion_tokens for made in answers)
    return {"prompt_tokens": read, "completion_tokens": said, "total_tokens": read + said}


def _refusal(error: Exception, model: str) -> ApiError:
    match error:
        case Refused():
            return ApiError(400, str(error), param=error.param, code=error.code)
        case Busy():
            message = f"{error} Send the request again in a few seconds."
            return ApiError(503, message, code="overloaded", retry_after_seconds=_RETRY_SECONDS)
        case _:
            return ApiError(404, f"The model {model!r} does not exist.", param="model", code="model_not_found")


def _fingerprint(state: State, name: str) -> str:
    """The engine that answered, and the model that it stands in for."""
    engine: str = state.engine.name
    base = find_base(state.engine, name)
    return f"{engine}:stands-in-for:{name}" if base is not None and base.stands_in else engine
