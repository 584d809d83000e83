"""Reads the answers of upstreams within limits: an upstream that a project has added may answer with anything.

Bytes are counted before they are stored, and depth and values before they are decoded; large answers are decoded off
the event loop.
"""

from collections.abc import AsyncIterator
from typing import Any

import httpx2
import msgspec

from service import json_limits
from service.errors import RateLimited
from service.json_limits import JsonLimitExceeded
from service.off_loop import off_loop
from service.project_memory import MemoryReservation
from service.upstreams.adapters.large_answers import read_large_answer
from service.upstreams.port import AnswerRefused

MAX_ERROR_BYTES = 256 * 1024
MAX_LINE_BYTES = 1024 * 1024
FREE_LINES = 1_000
MIN_LINE_BYTES = 16
"""After the first thousand lines of a stream, the least of their average bytes. A token has one line of some 200 bytes
and an empty one."""

MAX_EVENT_VALUES = 20_000
"""Values of one event, which is decoded and observed on the event loop. A token with 20 alternatives has some 300."""

STREAM_FACTOR = 4
"""How much more a streamed answer may have than a whole one: it repeats the ids and the model for each token."""

PIECE_BYTES = 256 * 1024


async def pieces(content: bytes) -> AsyncIterator[bytes]:
    """A request's body in pieces, because a connection copies or encrypts what it gets at once."""
    for start in range(0, len(content), PIECE_BYTES):
        yield content[start : start + PIECE_BYTES]


async def read_object(response: httpx2.Response, *, max_bytes: int, memory: MemoryReservation) -> dict[str, Any]:
    """The JSON object of a whole answer; an empty one for anything that is no object.

    Raises `AnswerRefused` above a limit, unless the answer is an error, which is then as good as empty.
    """
    try:
        limit = max_bytes if response.is_success else MAX_ERROR_BYTES
        content = await _content(response, max_bytes=limit, memory=memory)
        body, values = await off_loop(len(content), _read, content)
        memory.add_values(values)
    except (AnswerRefused, JsonLimitExceeded, RateLimited) as exceeded:
        if not response.is_success:
            return {}
        raise AnswerRefused(_sentence(exceeded)) from None
    return body


def _read(content: bytearray) -> tuple[dict[str, Any], int]:
    try:
        values = json_limits.check(content)
    except JsonLimitExceeded:
        return read_large_answer(content)
    return decode_object(content), values


def decode_object(content: bytes | bytearray) -> dict[str, Any]:
    """A JSON object whose limits are checked; an empty one for anything else."""
    try:
        value = msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


class EventStream:
    """The decoded server-sent events of one response."""

    def __init__(self, response: httpx2.Response, *, max_bytes: int) -> None:
        self._response = response
        self._max_bytes = max_bytes

    async def __aiter__(self) -> AsyncIterator[dict[str, Any]]:
        async for line in self._lines():
            if line.startswith(b"data:"):
                data = line.removeprefix(b"data:").strip()
                if data == b"[DONE]":
                    return
                try:
                    json_limits.check(data, max_values=MAX_EVENT_VALUES)
                except JsonLimitExceeded as exceeded:
                    raise AnswerRefused(_sentence(exceeded)) from None
                yield decode_object(data)

    async def aclose(self) -> None:
        """Close the connection."""
        await self._response.aclose()

    async def _lines(self) -> AsyncIterator[bytes]:
        rest, received, lines = bytearray(), 0, 0
        async for chunk in self._response.aiter_bytes():
            received += len(chunk)
            if received > self._max_bytes:
                raise AnswerRefused(f"the stream has more than {self._max_bytes:,} bytes (TUNEGATE_MAX_ANSWER_BYTES)")
            first, *others = chunk.split(b"\n")
            lines += len(others)
            if lines > FREE_LINES + received / MIN_LINE_BYTES:
                raise AnswerRefused(
                    f"the lines of the stream have under {MIN_LINE_BYTES} bytes on average, after the first "
                    f"{FREE_LINES:,}"
                )
            rest += first
            if len(rest) > MAX_LINE_BYTES:
                raise AnswerRefused(f"an event of the stream has more than {MAX_LINE_BYTES:,} bytes")
            for other in others:
                yield bytes(rest)
                rest = bytearray(other)
        yield bytes(rest)


async def _content(response: httpx2.Response, *, max_bytes: int, memory: MemoryReservation) -> bytearray:
    content = bytearray()
    async for chunk in response.aiter_bytes():
        if len(content) + len(chunk) > max_bytes:
            raise AnswerRefused(f"it has more than {max_bytes:,} bytes (TUNEGATE_MAX_ANSWER_BYTES)")
        memory.add_json(len(chunk))
        content += chunk
    return content


def _sentence(exceeded: Exception) -> str:
    return f"there is no memory left for it: {exceeded}" if isinstance(exceeded, RateLimited) else str(exceeded)
