"""Streams the events of a job or run as server-sent events, until it has ended and every event is sent."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass

from litestar.response import Stream

from service.errors import ApiError

POLL_SECONDS = 0.5
KEEP_ALIVE_SECONDS = 15.0
BATCH = 500
HEADERS = {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache"}
"""The content type is set here because the framework prefers its route's type, JSON, to a stream's `media_type`."""

AccessCheck = Callable[[], Awaitable[object]]
"""Raises `ApiError` once the caller's key no longer works."""


@dataclass(frozen=True, slots=True)
class StreamedEvent:
    """One event: its id, its sequence number, and its JSON body."""

    id: str
    sequence: int
    body: bytes


@dataclass(frozen=True, slots=True)
class EventBatch:
    """What a fetch has found: up to `BATCH` events behind a place, and whether the work had ended before."""

    events: Sequence[StreamedEvent]
    ended: bool


def event_stream(
    fetch: Callable[[int], Awaitable[EventBatch]], *, name: str, sequence: int, access_check: AccessCheck
) -> Stream:
    """Stream events under the name `name`, starting after `sequence`; `fetch` returns those after a sequence number."""
    return Stream(_encoded_events(fetch, name, sequence, access_check), headers=HEADERS)


async def _encoded_events(
    fetch: Callable[[int], Awaitable[EventBatch]], name: str, sequence: int, access_check: AccessCheck
) -> AsyncIterator[bytes]:
    quiet_seconds = 0.0
    while True:
        try:
            await access_check()
        except ApiError:
            return
        batch = await fetch(sequence)
        for event in batch.events:
            yield b"id: %s\nevent: %s\ndata: %s\n\n" % (event.id.encode(), name.encode(), event.body)
            sequence = event.sequence
        if batch.events:
            quiet_seconds = 0.0
            continue
        if batch.ended:
            yield b"event: done\ndata: [DONE]\n\n"
            return
        if quiet_seconds >= KEEP_ALIVE_SECONDS:
            yield b": still here\n\n"
            quiet_seconds = 0.0
        await asyncio.sleep(POLL_SECONDS)
        quiet_seconds += POLL_SECONDS
