"""Streamed answers: relayed to the caller, and metered to the end.

A task of its own reads the upstream, so that the call is posted even when the caller disconnects. In that case we
disconnect from the upstream too, which stops it generating, and post what it had sent by then.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx2
import msgspec
import structlog

from service.errors import ApiError, BadAnswer, Unavailable
from service.http.errors import error_body
from service.inference.metering import MeteredCall
from service.project_memory import MemoryReservation
from service.upstreams.port import AnswerRefused, CompletionStream

log = structlog.get_logger()

CHUNKS_AHEAD = 64
LARGE_CHUNK_BYTES = 16 * 1024
"""A larger chunk is read ahead alone, so that few bytes wait for a slow caller."""

DONE = b"data: [DONE]\n\n"
BROKEN = Unavailable("The upstream ended the stream early. Try again.", code="upstream_unavailable")


class Relay:
    """One streamed answer. Iterating gives the bytes for the caller; `hang_up` stops reading from the upstream.

    `pace` is awaited before each event of the upstream.
    """

    def __init__(
        self,
        answer: CompletionStream,
        metered_call: MeteredCall,
        *,
        memory: MemoryReservation,
        pace: Callable[[], Awaitable[None]],
        rewrite: Callable[[dict[str, Any]], dict[str, Any]],
        with_usage: bool,
        timeout_seconds: float,
    ) -> None:
        self._answer = answer
        self._metered_call = metered_call
        self._memory = memory
        self._pace = pace
        self._rewrite = rewrite
        self._with_usage = with_usage
        self._timeout_seconds = timeout_seconds
        self._chunks: asyncio.Queue[bytes | None] = asyncio.Queue(CHUNKS_AHEAD)
        self._hung_up = False
        self._posting = False
        self._reader = asyncio.create_task(self._read())
        _RUNNING[self._reader] = self
        self._reader.add_done_callback(_RUNNING.pop)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            while (chunk := await self._chunks.get()) is not None:
                self._chunks.task_done()
                yield chunk
        finally:
            self._stop_reading()

    async def hang_up(self) -> None:
        """Stop reading and post what has arrived. Runs at the end of every response, also after a disconnect."""
        self._stop_reading()

    def _stop_reading(self) -> None:
        if not self._hung_up:
            self._hung_up = True
            if not self._posting:
                self._reader.cancel()

    async def _read(self) -> None:
        try:
            async with asyncio.timeout(self._timeout_seconds):
                error = await self._relay_chunks()
        except TimeoutError:
            error = BROKEN
        except asyncio.CancelledError:
            await self._close_and_post()
            return
        await self._close_and_post()
        if self._hung_up:
            return
        if error is not None:
            await self._chunks.put(b"data: " + error_body(error) + b"\n\n")
        await self._chunks.put(DONE)
        await self._chunks.put(None)

    async def _relay_chunks(self) -> ApiError | None:
        """Relay the upstream's chunks to the caller. Returns the error if the stream broke before its end."""
        try:
            async for chunk in self._answer:
                await self._pace()
                self._metered_call.observe(chunk, self._memory)
                shown = self._for_caller(chunk)
                if shown is not None:
                    await self._put(b"data: " + msgspec.json.encode(self._rewrite(shown)) + b"\n\n")
        except httpx2.HTTPError:
            return BROKEN
        except AnswerRefused as refused:
            log.warning("inference.answer_refused", reason=str(refused))
            return BadAnswer(f"The upstream's answer is refused: {refused}. Ask for a shorter answer.")
        except Exception as error:
            log.error("inference.stream_broken", exc_info=error)
            return BROKEN
        return None

    async def _put(self, chunk: bytes) -> None:
        if len(chunk) > LARGE_CHUNK_BYTES:
            await self._chunks.join()
        await self._chunks.put(chunk)

    def _for_caller(self, chunk: dict[str, Any]) -> dict[str, Any] | None:
        """The chunk without a usage that the caller did not request; None when it contains nothing else."""
        if self._with_usage or "usage" not in chunk:
            return chunk
        if chunk["usage"] is not None and not chunk.get("choices"):
            return None
        return {name: value for name, value in chunk.items() if name != "usage"}

    async def _close_and_post(self) -> None:
        self._posting = True
        try:
            await self._answer.aclose()
        except Exception as error:
            log.info("inference.disconnect_failed", error=repr(error))
        await self._metered_call.post()
        self._posting = False


_RUNNING: dict["asyncio.Task[None]", Relay] = {}


async def finish_all() -> None:
    """End every stream of this process, and post what has arrived; called when the process stops."""
    running = dict(_RUNNING)
    for relay in running.values():
        await relay.hang_up()
    await asyncio.gather(*running, return_exceptions=True)
