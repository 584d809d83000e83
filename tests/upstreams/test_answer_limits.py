"""Answers of upstreams within their limits: bytes, values and depth, of whole answers, streams and control calls."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from service.errors import RateLimited
from service.project_memory import ProjectMemory
from service.upstreams.adapters.answers import MAX_ERROR_BYTES, MAX_LINE_BYTES
from service.upstreams.adapters.client import Connection
from service.upstreams.adapters.openai import OpenAIUpstream
from service.upstreams.adapters.transport import MAX_CONTROL_BYTES
from service.upstreams.port import AnswerRefused, Completion, UpstreamError

MAX_ANSWER_BYTES = 2 * 1024 * 1024
PATH = "/chat/completions"
BODY: dict[str, Any] = {"model": "m", "messages": []}
ANSWER = b'{"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"1"}}],"x":%s}'


@asynccontextmanager
async def upstream(
    answer: bytes, *, status: int = 200, media: str = "application/json"
) -> AsyncIterator[OpenAIUpstream]:
    """An adapter and an upstream that answers everything with these bytes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        if b"content-length: " in head:
            await reader.readexactly(int(head.partition(b"content-length: ")[2].split(b"\r\n")[0]))
        try:
            writer.write(
                b"HTTP/1.1 %d X\r\ncontent-type: %s\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%s"
                % (status, media.encode(), len(answer), answer)
            )
            await writer.drain()
        except ConnectionError:
            return
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
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
            max_answer_bytes=MAX_ANSWER_BYTES,
        )
    )
    try:
        yield adapter
    finally:
        await adapter.close()
        server.close()


def memory(max_bytes: int = 1 << 30) -> ProjectMemory:
    """The memory of a process."""
    return ProjectMemory(max_bytes)


class TestWhole:
    @pytest.mark.parametrize(
        ("extra", "limit"),
        [
            (b'"' + b"x" * MAX_ANSWER_BYTES + b'"', "2,097,152 bytes"),
            (b"[" * 1000 + b"]" * 1000, "128 levels"),
            (b"[" + b"[]," * 600_000 + b"1]", None),
        ],
        ids=["bytes", "depth", "values"],
    )
    async def test_above(self, extra: bytes, limit: str | None) -> None:
        """Too many values beside the choices are not decoded: the known fields are the answer."""
        async with upstream(ANSWER % extra) as adapter:
            with memory().reservation("a") as reservation:
                if limit is None:
                    answer = await adapter.complete(PATH, BODY, memory=reservation)
                    assert answer.body["choices"][0]["message"]["content"] == "1"
                    assert "x" not in answer.body
                else:
                    with pytest.raises(AnswerRefused, match=limit):
                        await adapter.complete(PATH, BODY, memory=reservation)

    async def test_above_within_a_choice(self) -> None:
        content = b"[" + b"[]," * 300_000 + b"1]"
        answer = b'{"choices":[{"index":0,"message":{"role":"assistant","content":%s}}]}' % content
        async with upstream(answer) as adapter:
            with memory().reservation("a") as reservation, pytest.raises(AnswerRefused, match="values"):
                await adapter.complete(PATH, BODY, memory=reservation)

    async def test_alternatives_of_each_token_pass_as_they_are(self) -> None:
        alternatives = [{"token": "a", "logprob": -1.5, "top_logprobs": [{"token": "b", "logprob": -2}] * 5}] * 25_000
        body = {
            "id": "c",
            "choices": [{"index": 0, "message": {"content": "1"}, "logprobs": {"content": alternatives}}],
            "usage": {"prompt_tokens": 1, "completion_tokens": 2},
        }
        raw = json.dumps(body, separators=(",", ":")).encode()
        assert raw.count(b",") > 250_000
        async with upstream(raw) as adapter:
            adapter._max_answer_bytes = len(raw)
            with memory().reservation("a") as reservation:
                answer = await adapter.complete(PATH, BODY, memory=reservation)
        assert json.loads(msgspec.json.encode(answer.body)) == body
        assert answer.body["usage"] == body["usage"]

    async def test_error_with_a_large_body_is_an_error_without_one(self) -> None:
        async with upstream(b'{"error":"' + b"x" * MAX_ERROR_BYTES + b'"}', status=500) as adapter:
            with memory().reservation("a") as reservation:
                answer = await adapter.complete(PATH, BODY, memory=reservation)
        assert (answer.status, answer.body) == (500, {})

    async def test_counts_for_its_project(self) -> None:
        counted = memory(1024 * 1024)
        async with upstream(ANSWER % (b'"' + b"x" * 800_000 + b'"')) as adapter:
            with counted.reservation("a") as reservation, pytest.raises(AnswerRefused, match="memory"):
                await adapter.complete(PATH, BODY, memory=reservation)
        assert counted.occupied_by("a") == 0


class TestStream:
    @pytest.mark.parametrize(
        ("event", "limit"),
        [
            (b'{"x":"' + b"x" * MAX_LINE_BYTES + b'"}', "an event of the stream"),
            (b"[" * 200 + b"]" * 200, "128 levels"),
        ],
    )
    async def test_event_above(self, event: bytes, limit: str) -> None:
        first = b'data: {"id":"1"}\n\n'
        async with upstream(first + b"data: " + event + b"\n\n", media="text/event-stream") as adapter:
            with memory().reservation("a") as reservation:
                stream = await adapter.stream(PATH, BODY, memory=reservation)
                assert not isinstance(stream, Completion)
                events = aiter(stream)
                assert await anext(events) == {"id": "1"}
                with pytest.raises(AnswerRefused, match=limit):
                    await anext(events)
                await stream.aclose()

    async def test_whole_stream_above(self) -> None:
        event = b'data: {"x":"' + b"x" * 500_000 + b'"}\n\n'
        async with upstream(event * 20, media="text/event-stream") as adapter:
            with memory().reservation("a") as reservation:
                stream = await adapter.stream(PATH, BODY, memory=reservation)
                assert not isinstance(stream, Completion)
                with pytest.raises(AnswerRefused, match="the stream has more than"):
                    assert [event async for event in stream]
                await stream.aclose()

    async def test_events_in_any_pieces(self) -> None:
        """Lines end with LF or CR LF, and the last one may have no end."""
        async with upstream(b'data: {"a":1}\r\n\r\n: note\n\ndata:{"a":2}', media="text/event-stream") as adapter:
            with memory().reservation("a") as reservation:
                stream = await adapter.stream(PATH, BODY, memory=reservation)
                assert not isinstance(stream, Completion)
                assert [event async for event in stream] == [{"a": 1}, {"a": 2}]


class TestControl:
    @pytest.mark.parametrize(
        "answer",
        [
            b'{"id":"' + b"x" * MAX_CONTROL_BYTES + b'"}',
            b"[" * 500 + b"]" * 500,
            b"[" + b"{}," * 200_000 + b"{}]",
        ],
        ids=["bytes", "depth", "values"],
    )
    async def test_above(self, answer: bytes) -> None:
        async with upstream(answer) as adapter:
            with pytest.raises(UpstreamError) as failed:
                await adapter.get_job("ftjob-1")
        assert failed.value.kind == "away"

    async def test_content_of_a_file_may_be_larger(self) -> None:
        content = b"x" * (MAX_CONTROL_BYTES + 1)
        async with upstream(content, media="text/csv") as adapter:
            assert await adapter.file_content("file-1", len(content)) == content
            with pytest.raises(UpstreamError):
                await adapter.file_content("file-1", len(content) - 1)

    async def test_content_of_a_file_that_is_gone(self) -> None:
        async with upstream(b'{"error":{"message":"No such file","code":null}}', status=404) as adapter:
            with pytest.raises(UpstreamError) as failed:
                await adapter.file_content("file-1", 10)
        assert failed.value.kind == "not_found"


class TestMemory:
    def test_of_one_project_says_nothing_about_another(self) -> None:
        counted = memory(1000)
        with counted.reservation("a") as first, counted.reservation("b") as other:
            first.add(1000)
            with pytest.raises(RateLimited):
                first.add(1)
            other.add(1000)
            assert (counted.occupied_by("a"), counted.occupied_by("b")) == (1000, 1000)
        assert (counted.occupied_by("a"), counted.occupied_by("b")) == (0, 0)

    def test_prepaid_is_used_first(self) -> None:
        counted = memory(1000)
        with counted.reservation("a") as reservation:
            reservation.prepay(900)
            reservation.add(800)
            reservation.add(200)
            assert counted.occupied_by("a") == 1000
