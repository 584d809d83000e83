"""Answers that cost the event loop more than their bytes: interim responses, tiny chunks, empty lines."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import httpx2
import pytest

from service.egress.addresses import Reach
from service.egress.connections import MAX_HEAD_BYTES
from service.inference.relay_pace import RelayPaces
from service.project_memory import ProjectMemory
from service.upstreams.adapters.client import Connection
from service.upstreams.adapters.openai import OpenAIUpstream
from service.upstreams.adapters.transport import FREE_PIECES
from service.upstreams.port import AnswerRefused, Completion
from service.webhooks.outcomes import Delivered, Unreachable
from tests.webhooks.factories import new_sender

INTERIM = b"HTTP/1.1 100 Continue\r\n\r\n"
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n"
ANSWER = b'{"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"1"}}]}'
STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
EVENT = b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n'
PATH, BODY = "/chat/completions", {"model": "m", "messages": []}


def chunked(content: bytes, size: int) -> bytes:
    """The content in chunks of that many bytes."""
    chunks = [content[start : start + size] for start in range(0, len(content), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"


@asynccontextmanager
async def server(response: bytes) -> AsyncIterator[int]:
    """The port of a server that answers every request with these bytes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            if b"content-length: " in head:
                await reader.readexactly(int(head.partition(b"content-length: ")[2].split(b"\r\n")[0]))
            writer.write(response)
            await writer.drain()
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield listening.sockets[0].getsockname()[1]
    listening.close()


@asynccontextmanager
async def upstream(response: bytes) -> AsyncIterator[OpenAIUpstream]:
    """An adapter whose upstream answers every request with these bytes."""
    async with server(response) as port:
        adapter = OpenAIUpstream(
            Connection(
                account_id="upstream_x",
                kind="openai",
                provider="other",
                base_url=f"http://127.0.0.1:{port}/v1",
                api_key="sk-0123456789",
                control_timeout=60,
                upload_timeout=60,
                inference_timeout=60,
                max_answer_bytes=8 << 20,
            )
        )
        yield adapter
        await adapter.close()


async def _complete(response: bytes) -> Completion:
    async with upstream(response) as adapter:
        with ProjectMemory(1 << 30).reservation("a") as memory:
            return await adapter.complete(PATH, BODY, memory=memory)


async def _stream(response: bytes) -> int:
    async with upstream(response) as adapter:
        with ProjectMemory(1 << 30).reservation("a") as memory:
            stream = await adapter.stream(PATH, BODY, memory=memory)
            assert not isinstance(stream, Completion)
            try:
                return len([event async for event in stream])
            finally:
                await stream.aclose()


class TestInterimResponses:
    async def test_a_few_before_the_answer_pass(self) -> None:
        head = HEAD + b"content-length: %d\r\n\r\n" % len(ANSWER)
        assert (await _complete(INTERIM * 20 + head + ANSWER)).status == 200

    async def test_a_flood_from_an_upstream_is_refused(self) -> None:
        flood = INTERIM * (4 * MAX_HEAD_BYTES // len(INTERIM))
        with pytest.raises(httpx2.RemoteProtocolError, match="no complete head"):
            await _complete(flood + HEAD + b"content-length: 2\r\n\r\n{}")

    async def test_a_flood_from_a_receiver_is_refused(self) -> None:
        sender = new_sender(reach=Reach.LOOPBACK, timeout_seconds=60)
        flood = INTERIM * (4 * MAX_HEAD_BYTES // len(INTERIM))
        async with server(flood + HEAD + b"content-length: 2\r\n\r\n{}") as port:
            outcome = await sender.send(f"http://127.0.0.1:{port}/", {}, b"{}", project_id="a")
        assert isinstance(outcome, Unreachable)
        assert outcome.reason == "protocol_error"

    async def test_a_body_does_not_count_as_head(self) -> None:
        body = b"x" * (4 * MAX_HEAD_BYTES)
        sender = new_sender(reach=Reach.LOOPBACK, timeout_seconds=60)
        async with server(HEAD + b"content-length: %d\r\n\r\n" % len(body) + body) as port:
            assert isinstance(await sender.send(f"http://127.0.0.1:{port}/", {}, b"{}", project_id="a"), Delivered)
        assert (await _complete(HEAD + b"content-length: %d\r\n\r\n" % len(body) + body)).status == 200


class TestPieces:
    async def test_an_answer_in_tiny_chunks_is_refused(self) -> None:
        content = ANSWER + b" " * (4 * FREE_PIECES)
        with pytest.raises(httpx2.ReadError, match="pieces of under 64 bytes"):
            await _complete(HEAD + b"transfer-encoding: chunked\r\n\r\n" + chunked(content, 1))

    async def test_a_short_answer_in_tiny_chunks_and_a_long_one_in_tokens_pass(self) -> None:
        head = HEAD + b"transfer-encoding: chunked\r\n\r\n"
        assert (await _complete(head + chunked(ANSWER, 1))).body["model"] == "m"
        assert (await _complete(head + chunked(ANSWER + b" " * 500_000, 200))).body["model"] == "m"


class TestLines:
    async def test_a_flood_of_empty_lines_is_refused(self) -> None:
        with pytest.raises(AnswerRefused, match="lines of the stream have under 16 bytes"):
            await _stream(STREAM_HEAD + b"\n" * 5_000 + EVENT)

    async def test_short_events_pass(self) -> None:
        assert await _stream(STREAM_HEAD + EVENT * 20_000 + b"data: [DONE]\n\n") == 20_000


class TestPace:
    async def test_a_project_waits_and_another_does_not(self) -> None:
        paces = RelayPaces(per_second=100)
        clock = asyncio.get_running_loop().time
        began = clock()
        for _ in range(60):
            await paces.wait("a")
        waited = clock() - began
        assert waited > 0.25  # twenty at once, and the others at a hundred a second
        began = clock()
        await paces.wait("b")
        assert clock() - began < waited / 2
