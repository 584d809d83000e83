"""Streams events as server-sent events: those of a job, of a run, or of a project's webhooks.

A project has a maximum of open streams in a process, which is checked before any query, and its streams together fetch
at most `MAX_FETCHES_PER_SECOND` times a second: the more of them are open, the longer each waits between two fetches.
Between two fetches a stream occupies no database connection, only its position. A client that reads nothing ends with
its connection (`service/http/protocol.py`).
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from litestar.response import Stream

from service.errors import ApiError, QuotaExceeded
from service.http.concurrent_requests import ConcurrentRequests

POLL_SECONDS = 0.5
KEEP_ALIVE_SECONDS = 15.0
BATCH = 500
MAX_FETCHES_PER_SECOND = 20
"""Of all streams of a project in a process. A fetch is one transaction of some milliseconds."""

HEADERS = {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache"}
"""The content type is set here because the framework prefers its route's type, JSON, to a stream's `media_type`."""

AccessCheck = Callable[[], Awaitable[object]]
"""Raises `ApiError` once the caller's key no longer works."""


@dataclass(frozen=True, slots=True)
class StreamedEvent:
    """One event: its id, its name, its position in its source, and its body."""

    id: str
    name: str
    position: int
    body: bytes


@dataclass(frozen=True, slots=True)
class EventBatch:
    """The events that a fetch has found. `full`: more may follow at once; `ended`: the source had ended before."""

    events: Sequence[StreamedEvent]
    full: bool
    ended: bool


class EventSource(Protocol):
    """Where the events of one stream come from."""

    async def begin(self) -> tuple[int, bytes]:
        """The position to begin after, and bytes to send first. Raises `ApiError` for a request that is refused."""
        ...

    async def fetch(self, position: int) -> EventBatch:
        """The next events after a position."""
        ...


class EventStreams:
    """The open event streams of this process, at most `max_streams` of a project.

    A stream fetches every `poll_seconds` or less often, and sends a comment after `keep_alive_seconds` without events.
    """

    def __init__(
        self, *, max_streams: int, poll_seconds: float = POLL_SECONDS, keep_alive_seconds: float = KEEP_ALIVE_SECONDS
    ) -> None:
        self._open = ConcurrentRequests(max_streams, _too_many_streams)
        self._poll_seconds = poll_seconds
        self._keep_alive_seconds = keep_alive_seconds
        self._paces: dict[str, _Pace] = {}

    async def open(self, project_id: str, source: EventSource, *, access_check: AccessCheck) -> Stream:
        """Stream the events of a source.

        Raises `QuotaExceeded` above the maximum of streams, and what `source.begin` raises.
        """
        if not self._open.has_any(project_id):
            self._paces[project_id] = _Pace()
        place = self._open.begin(project_id)
        try:
            position, greeting = await source.begin()
        except BaseException:
            place.release()
            raise
        pace = self._paces[project_id]
        return place.stream(self._encoded_events(pace, source, position, greeting, access_check), headers=HEADERS)

    async def _encoded_events(
        self, pace: "_Pace", source: EventSource, position: int, greeting: bytes, access_check: AccessCheck
    ) -> AsyncIterator[bytes]:
        if greeting:
            yield greeting
        quiet_seconds = 0.0
        while True:
            quiet_seconds += await pace.wait()
            try:
                await access_check()
            except ApiError:
                return
            batch = await source.fetch(position)
            for event in batch.events:
                yield b"id: %s\nevent: %s\ndata: %s\n\n" % (event.id.encode(), event.name.encode(), event.body)
                position, quiet_seconds = event.position, 0.0
            if batch.full or (batch.ended and batch.events):
                continue
            if batch.ended:
                yield b"event: done\ndata: [DONE]\n\n"
                return
            if quiet_seconds >= self._keep_alive_seconds:
                yield b": still here\n\n"
                quiet_seconds = 0.0
            await asyncio.sleep(self._poll_seconds)
            quiet_seconds += self._poll_seconds


def _too_many_streams(limit: int) -> QuotaExceeded:
    return QuotaExceeded(
        f"The project has {limit} event streams open in this process, which is the limit (TUNEGATE_MAX_EVENT_STREAMS). "
        "Close one of them.",
        code="too_many_streams",
    )


@dataclass(slots=True)
class _Pace:
    """The rate at which a project's streams fetch: when the next one may, in seconds of the loop's clock."""

    next_at: float = 0.0

    async def wait(self) -> float:
        """Wait until the next fetch may begin; returns for how many seconds."""
        now = asyncio.get_running_loop().time()
        fetch_at = max(now, self.next_at)
        self.next_at = fetch_at + 1 / MAX_FETCHES_PER_SECOND
        if fetch_at > now:
            await asyncio.sleep(fetch_at - now)
        return fetch_at - now
