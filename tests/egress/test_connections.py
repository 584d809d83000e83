"""Connections that are reset as they are made, on the event loop of the processes, where anyio trips over them."""

import socket
from collections.abc import Iterator
from typing import Any

import httpcore2
import httpx2
import pytest
import uvloop

from service.egress.addresses import Reach
from service.egress.connections import Backend
from service.project_memory import ProjectMemory
from service.upstreams.adapters.client import Connection
from service.upstreams.adapters.openai import OpenAIUpstream
from service.upstreams.port import NotSent, Unknown
from service.webhooks.outcomes import Unreachable
from tests.upstreams.test_azure import order
from tests.webhooks.factories import new_sender

MEMORY = ProjectMemory(1 << 30).reservation("proj_test")

BEFORE, AFTER = "before it is looked at", "after that"


@pytest.fixture
def port() -> Iterator[int]:
    """Somebody listens there."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@pytest.fixture(params=[BEFORE, AFTER])
def ends(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Every connection ends as soon as it is open."""
    backend = httpcore2.AnyIOBackend if request.param == BEFORE else Backend
    opens: Any = backend.connect_tcp

    async def open_and_end(self: Any, *args: Any, **named: Any) -> Any:
        made = inner = await opens(self, *args, **named)
        while (below := getattr(inner, "_stream", None)) is not None:
            inner = below
        inner._transport.abort()
        await self.sleep(0.01)
        return made

    monkeypatch.setattr(backend, "connect_tcp", open_and_end)
    return str(request.param)


def test_an_unavailable_upstream(ends: str, port: int) -> None:
    async def act() -> None:
        upstream = OpenAIUpstream(
            Connection(
                account_id="upstream_1",
                kind="openai",
                provider="openai",
                base_url=f"http://127.0.0.1:{port}/v1",
                api_key="sk-test",
                control_timeout=60,
                upload_timeout=60,
                inference_timeout=60,
                max_answer_bytes=1 << 20,
            )
        )
        asked: dict[str, Any] = {"model": "gpt-4o-mini-2024-07-18", "messages": []}
        try:
            with pytest.raises(httpx2.HTTPError):
                await upstream.complete("/chat/completions", asked, memory=MEMORY)
            with pytest.raises(httpx2.HTTPError):
                await upstream.stream("/chat/completions", {**asked, "stream": True}, memory=MEMORY)
            outcome = await upstream.create_job(order("file-1"))
            assert isinstance(outcome, NotSent if ends == BEFORE else Unknown)
        finally:
            await upstream.close()

    uvloop.run(act())


def test_a_receiver_is_not_reached(ends: str, port: int) -> None:
    sender = new_sender(reach=Reach.LOOPBACK, timeout_seconds=60)
    outcome = uvloop.run(sender.send(f"http://127.0.0.1:{port}/", {}, b"{}"))
    assert isinstance(outcome, Unreachable)
    assert outcome.reason == ("connect_failed" if ends == BEFORE else "protocol_error")
