"""Events of long work as server-sent events, until it has ended and everything is told."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass

from litestar.response import Stream

from service.errors import ApiError

LOOK_EVERY_SECONDS = 0.5
KEEP_ALIVE_SECONDS = 15.0
BATCH = 500
HEADERS = {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache"}
"""The type stands here because the framework prefers its route's type, JSON, to a stream's `media_type`."""

Check = Callable[[], Awaitable[object]]
"""Raises `ApiError` once the caller's key works no more."""


@dataclass(frozen=True, slots=True)
class StreamedEvent:
    """One event: its id, its place, and its body."""

    id: str
    sequence: int
    body: bytes


@dataclass(frozen=True, slots=True)
class EventBatch:
    """What a fetch has found: up to `BATCH` events behind a place, and whether the work had ended before."""

    events: Sequence[StreamedEvent]
    ended: bool


def event_stream(
    fetch: Callable[[int], Awaitable[EventBatch]], *, name: str, sequence: int, access_check: Check
) -> Stream:
    """The events that `fetch` finds behind a place, beginning with `sequence`; each is called `name`."""
    return Stream(_told(fetch, name, sequence, access_check), headers=HEADERS)


async def _told(
    fetch: Callable[[int], Awaitable[EventBatch]], name: str, sequence: int, access_check: Check
) -> AsyncIterator[bytes]:
    quiet_seconds = 0.0
    while True:
        try:
            await access_check()
        except ApiError:
            return
        seen = await fetch(sequence)
        for event in seen.events:
            yield b"id: %s\nevent: %s\ndata: %s\n\n" % (event.id.encode(), name.encode(), event.body)
            sequence = event.sequence
        if seen.events:
            quiet_seconds = 0.0
            continue
        if seen.ended:
            yield b"event: done\ndata: [DONE]\n\n"
            return
        if quiet_seconds >= KEEP_ALIVE_SECONDS:
            yield b": still here\n\n"
            quiet_seconds = 0.0
        await asyncio.sleep(LOOK_EVERY_SECONDS)
        quiet_seconds += LOOK_EVERY_SECONDS
