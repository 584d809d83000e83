"""The pace of bodies, and of those that need no key."""

import asyncio
from typing import Any
from urllib.parse import urlsplit

import pytest

from service.errors import RequestTimeout
from service.http.body_pace import MIN_BYTES_PER_SECOND, PacedBody
from service.http.keyless_bodies import KeylessBodies
from tests.http.fixtures import KEYLESS_SECONDS, Api

IDLE_SECONDS = 0.5
LONG_SECONDS = 90.0


def message(body: bytes = b"", *, more: bool = True) -> dict[str, Any]:
    """A message of ASGI."""
    return {"type": "http.request", "body": body, "more_body": more}


class TestPace:
    async def test_of_the_service_does_not_count(self) -> None:
        """The body is there, and what takes long is to store it."""

        async def receive() -> Any:
            return message(b"x")

        body = PacedBody(receive, idle_seconds=IDLE_SECONDS)
        for _ in range(4):
            assert (await body())["body"] == b"x"
            await asyncio.sleep(IDLE_SECONDS / 2)

    async def test_bytes_give_time(self) -> None:
        """What comes in pieces with pauses of a tenth takes three times as long as may be waited for."""

        async def receive() -> Any:
            await asyncio.sleep(IDLE_SECONDS / 10)
            return message(b"x" * int(IDLE_SECONDS * MIN_BYTES_PER_SECOND))

        body = PacedBody(receive, idle_seconds=IDLE_SECONDS)
        for _ in range(30):
            await body()

    async def test_many_bytes_give_no_more_than_at_first(self) -> None:
        first = [message(b"x" * 1_000_000)]

        async def receive() -> Any:
            if first:
                return first.pop()
            await asyncio.sleep(IDLE_SECONDS / 10)
            return message(b"x")

        body = PacedBody(receive, idle_seconds=IDLE_SECONDS)
        with pytest.raises(RequestTimeout, match=r"1,024 bytes a second over 0\.5 s"):
            for _ in range(100):
                await body()

    async def test_after_its_end_nothing_is_timed(self) -> None:
        """A streamed response waits for its client's end, however long."""
        messages = [message(more=False)]

        async def receive() -> Any:
            if not messages:
                await asyncio.sleep(2 * IDLE_SECONDS)
                return {"type": "http.disconnect"}
            return messages.pop()

        body = PacedBody(receive, idle_seconds=IDLE_SECONDS)
        await body()
        assert (await body())["type"] == "http.disconnect"


async def at_once() -> bytes:
    """A body that has come."""
    return b"x"


async def never() -> bytes:
    """A body that does not come."""
    await asyncio.Event().wait()
    return b""


class TestWithoutKey:
    async def test_the_oldest_of_too_many_is_ended(self) -> None:
        bodies = KeylessBodies(max_bodies=3, seconds=LONG_SECONDS)
        slow = []
        for _ in range(5):
            slow.append(asyncio.create_task(bodies.read(never)))
            await asyncio.sleep(0)
        async with asyncio.timeout(LONG_SECONDS / 2):
            for ended in slow[:2]:
                with pytest.raises(RequestTimeout, match="3 newer ones"):
                    await ended
            assert await bodies.read(at_once) == b"x"
            with pytest.raises(RequestTimeout):
                await slow[2]
        assert [each.done() for each in slow] == [True] * 3 + [False] * 2
        for each in slow[3:]:
            each.cancel()
        await asyncio.gather(*slow, return_exceptions=True)

    async def test_of_an_upstream_has_little_time(self, api: Api) -> None:
        parts = urlsplit(api.one.base_url)
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        writer.write(b"POST /v1/upstreams/default/events HTTP/1.1\r\nhost: a\r\ncontent-length: 60000\r\n\r\n{")
        answer = asyncio.create_task(reader.read())
        async with asyncio.timeout(30):
            while not answer.done():
                writer.write(b" " * 1024)
                await asyncio.wait({answer}, timeout=0.2)
        assert (await answer).startswith(b"HTTP/1.1 408")
        assert b"did not arrive within %g s" % KEYLESS_SECONDS in await answer
