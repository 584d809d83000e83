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

from litestar.background_tasks import BackgroundTask
from litestar.response import Stream

from service.errors import ApiError, QuotaExceeded

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
        self._max_streams = max_streams
        self._poll_seconds = poll_seconds
        self._keep_alive_seconds = keep_alive_seconds
        self._projects: dict[str, _Project] = {}

    async def open(self, project_id: str, source: EventSource, *, access_check: AccessCheck) -> Stream:
        """Stream the events of a source.

        Raises `QuotaExceeded` above the maximum of streams, and what `source.begin` raises.
        """
        place = self._occupy(project_id)
        try:
            position, greeting = await source.begin()
        except BaseException:
            place.release()
            raise
        return Stream(
            self._chunks(place, source, position, greeting, access_check),
            headers=HEADERS,
            background=BackgroundTask(place.release_later),
        )

    def _occupy(self, project_id: str) -> "_Place":
        project = self._projects.get(project_id) or _Project()
        if project.streams >= self._max_streams:
            raise QuotaExceeded(
                f"The project has {self._max_streams} event streams open in this process, which is the limit "
                "(TUNEGATE_MAX_EVENT_STREAMS). Close one of them.",
                code="too_many_streams",
            )
        project.streams += 1
        self._projects[project_id] = project
        return _Place(self._projects, project_id, project)

    async def _chunks(
        self, place: "_Place", source: EventSource, position: int, greeting: bytes, access_check: AccessCheck
    ) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._encoded_events(place.project, source, position, greeting, access_check):
                yield chunk
        finally:
            place.release()

    async def _encoded_events(
        self, project: "_Project", source: EventSource, position: int, greeting: bytes, access_check: AccessCheck
    ) -> AsyncIterator[bytes]:
        if greeting:
            yield greeting
        quiet_seconds = 0.0
        while True:
            quiet_seconds += await project.wait_for_turn()
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


@dataclass(slots=True)
class _Project:
    """A project's streams: how many are open, and when they may fetch next, in seconds of the loop's clock."""

    streams: int = 0
    next_turn_at: float = 0.0

    async def wait_for_turn(self) -> float:
        """Wait until the project's streams may fetch again; returns for how many seconds."""
        now = asyncio.get_running_loop().time()
        turn_at = max(now, self.next_turn_at)
        self.next_turn_at = turn_at + 1 / MAX_FETCHES_PER_SECOND
        if turn_at > now:
            await asyncio.sleep(turn_at - now)
        return turn_at - now


@dataclass(slots=True)
class _Place:
    """The place of one stream, from before its first query to the end of its response, however that ends."""

    projects: dict[str, _Project]
    project_id: str
    project: _Project
    released: bool = False

    def release(self) -> None:
        """Give the place back; a second call does nothing."""
        if self.released:
            return
        self.released = True
        self.project.streams -= 1
        if not self.project.streams:
            del self.projects[self.project_id]

    async def release_later(self) -> None:
        """The same after the response: an iterator that was never begun does not end either."""
        self.release()
