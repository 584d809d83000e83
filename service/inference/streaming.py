"""A streamed answer on its way to the caller, metered to its end.

The upstream is read by a task of its own and not by the answer's iterator, so that the call is posted whatever becomes
of the caller. A caller that hangs up lets us hang up too: no more is generated than need be, and what had come by then
is posted.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx2
import msgspec
import structlog

from service.inference.metering import MeteredCall
from service.upstreams.port import CompletionStream

log = structlog.get_logger()

CHUNKS_AHEAD = 64
DONE = b"data: [DONE]\n\n"
BROKEN = {
    "error": {
        "message": "The upstream ended the stream early. Try again.",
        "type": "server_error",
        "param": None,
        "code": "upstream_unavailable",
    }
}


class Relay:
    """One streamed answer. Iterating gives the bytes for the caller; `hang_up` ends it before its time."""

    def __init__(
        self,
        answer: CompletionStream,
        metered_call: MeteredCall,
        *,
        shown: Callable[[dict[str, Any]], dict[str, Any]],
        with_usage: bool,
        seconds: float,
    ) -> None:
        self._answer = answer
        self._metered_call = metered_call
        self._shown = shown
        self._with_usage = with_usage
        self._seconds = seconds
        self._chunks: asyncio.Queue[bytes | None] = asyncio.Queue(CHUNKS_AHEAD)
        self._left = False
        self._posting = False
        self._reader = asyncio.create_task(self._read())
        _RUNNING[self._reader] = self
        self._reader.add_done_callback(_RUNNING.pop)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            while (chunk := await self._chunks.get()) is not None:
                yield chunk
        finally:
            self._leave()

    async def hang_up(self) -> None:
        """Stop reading and post what has come. The response runs it at its end, also when the caller has left."""
        self._leave()

    def _leave(self) -> None:
        if not self._left:
            self._left = True
            if not self._posting:
                self._reader.cancel()

    async def _read(self) -> None:
        try:
            async with asyncio.timeout(self._seconds):
                broken = await self._pass_on()
        except TimeoutError:
            broken = True
        except asyncio.CancelledError:
            await self._close()
            return
        await self._close()
        if self._left:
            return
        if broken:
            await self._chunks.put(b"data: " + msgspec.json.encode(BROKEN) + b"\n\n")
        await self._chunks.put(DONE)
        await self._chunks.put(None)

    async def _pass_on(self) -> bool:
        try:
            async for chunk in self._answer:
                self._metered_call.observe(chunk)
                shown = self._for_caller(chunk)
                if shown is not None:
                    await self._chunks.put(b"data: " + msgspec.json.encode(self._shown(shown)) + b"\n\n")
        except httpx2.HTTPError:
            return True
        except Exception as error:
            log.error("inference.stream_broke", exc_info=error)
            return True
        return False

    def _for_caller(self, chunk: dict[str, Any]) -> dict[str, Any] | None:
        """The chunk without the usage that only we have asked for; None when nothing else is in it."""
        if self._with_usage or "usage" not in chunk:
            return chunk
        if chunk["usage"] is not None and not chunk.get("choices"):
            return None
        return {name: value for name, value in chunk.items() if name != "usage"}

    async def _close(self) -> None:
        self._posting = True
        try:
            await self._answer.aclose()
        except Exception as error:
            log.info("inference.hang_up_failed", error=repr(error))
        await self._metered_call.post()
        self._posting = False


_RUNNING: dict["asyncio.Task[None]", Relay] = {}


async def finish_all() -> None:
    """Hang up on every upstream and post what has come; for the end of the process."""
    running = dict(_RUNNING)
    for relay in running.values():
        await relay.hang_up()
    await asyncio.gather(*running, return_exceptions=True)
