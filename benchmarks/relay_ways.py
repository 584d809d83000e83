"""The ways in which `benchmarks.relay` sends a chat: an upstream that answers at once, and what stands before it."""

from __future__ import annotations

import cProfile
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import msgspec
from litestar import Litestar, Request, Response, post
from litestar.response import Stream

from benchmarks.servers import Served
from service.billing import ledger_batcher
from service.billing.actions import Actual
from service.billing.ledger_batcher import Call, LedgerBatcher
from service.settings import Settings

MODELS = ("gpt-4o-mini", "gpt-3.5-turbo")
"""One of each encoding."""

STREAMED = 50
"""Events of a streamed answer."""

WARM_UP_REQUESTS = 64
"""Requests before the profile begins."""

PROMPT_TOKENS = 11
LITELLM_KEY = "sk-benchmark"
USAGE = {"prompt_tokens": PROMPT_TOKENS, "completion_tokens": 1, "total_tokens": PROMPT_TOKENS + 1}
ANSWER = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": MODELS[0],
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "ok"}, "finish_reason": "stop"}],
    "usage": USAGE,
}
CHUNK = {
    "id": "chatcmpl-1",
    "object": "chat.completion.chunk",
    "created": 1,
    "model": MODELS[0],
    "choices": [{"index": 0, "delta": {"content": " word"}, "finish_reason": None}],
}


def upstream() -> Any:
    """An upstream that answers at once, with a stream where the body asks for one."""
    whole = msgspec.json.encode(ANSWER)
    last = {**CHUNK, "choices": [], "usage": USAGE}
    events = [b"data: " + msgspec.json.encode(each) + b"\n\n" for each in (*[CHUNK] * STREAMED, last)]

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            return
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        streamed = b'"stream":true' in body
        kind = b"text/event-stream" if streamed else b"application/json"
        size = [] if streamed else [(b"content-length", str(len(whole)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind), *size]})
        if streamed:
            for event in events:
                await send({"type": "http.response.body", "body": event, "more_body": True})
            await send({"type": "http.response.body", "body": b"data: [DONE]\n\n"})
        else:
            await send({"type": "http.response.body", "body": whole})

    return app


def bare_relay(base_url: str) -> Any:
    """What a relay costs that does nothing else."""
    client = httpx2.AsyncClient(base_url=base_url, headers={"authorization": "Bearer none"}, timeout=60)

    @post("/v1/chat/completions", status_code=200)
    async def relay(request: Request[Any, Any, Any]) -> Response[bytes] | Stream:
        body = await request.json()
        sent = client.build_request("POST", "/chat/completions", json=body)
        if body.get("stream"):
            answer = await client.send(sent, stream=True)
            return Stream(answer.aiter_bytes(), media_type="text/event-stream")
        return Response((await client.send(sent)).content, media_type="application/json")

    return Litestar([relay], openapi_config=None, logging_config=None)


class Unmetered(LedgerBatcher):
    """Admits every call and records nothing."""

    async def reserve(self, project_id: str, call: Call) -> bool:
        """Admit it."""
        return True

    async def settle(self, project_id: str, actual: Actual) -> None:
        """Nothing to post."""


class Naive(LedgerBatcher):
    """A transaction for each reservation and each posting, as one would write it first."""

    async def _submit(self, project_id: str, subject: Call | Actual) -> bool:
        operation = ledger_batcher._Operation(project_id, subject)
        await self._commit_or_fail(project_id, [operation])
        return await operation.result


def gateway(settings: Settings, batcher: type[LedgerBatcher], profile: str | None = None) -> Any:
    """The gateway with another ledger batcher; with `profile`, everything between start and end is profiled."""
    from service import services as composition
    from service.app import create_app

    vars(composition)["LedgerBatcher"] = batcher
    app = create_app(settings)
    return app if profile is None else _profiled(app, profile)


def _profiled(app: Any, path: str) -> Any:
    profiler = cProfile.Profile(time.process_time)
    requests = 0

    async def wrapped(scope: Any, receive: Any, send: Any) -> None:
        nonlocal requests
        if scope["type"] == "http":
            requests += 1
            if requests == WARM_UP_REQUESTS:
                profiler.enable()
            await app(scope, receive, send)
            return

        async def observed() -> Any:
            message = await receive()
            if message["type"] == "lifespan.shutdown":
                profiler.disable()
                profiler.dump_stats(path)
            return message

        await app(scope, observed, send)

    return wrapped


@contextmanager
def litellm_proxy(executable: str, upstream_url: str) -> Iterator[Served]:
    """LiteLLM's proxy before the upstream, in one process."""
    with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0)) as chosen:
        port = chosen.getsockname()[1]
        chosen.close()
        config = Path(folder) / "config.yaml"
        model = {"model": f"openai/{MODELS[0]}", "api_base": f"{upstream_url}/v1", "api_key": "none"}
        config.write_bytes(
            msgspec.json.encode(
                {
                    "model_list": [{"model_name": MODELS[0], "litellm_params": model}],
                    "general_settings": {"master_key": LITELLM_KEY},
                }
            )
        )
        command = [executable, "--config", str(config), "--port", str(port), "--num_workers", "1"]
        with (Path(folder) / "log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | {"LITELLM_LOG": "ERROR"})
        url = f"http://127.0.0.1:{port}"
        try:
            for _ in range(600):
                try:
                    if httpx2.get(f"{url}/health/liveliness").status_code == 200:
                        break
                except httpx2.HTTPError:
                    time.sleep(0.2)
            else:
                raise SystemExit((Path(folder) / "log").read_text())
            yield Served(url, (process.pid,))
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)
