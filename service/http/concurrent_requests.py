"""Requests of one kind that a project may have in progress in a process, counted before they cost anything."""

from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from litestar.background_tasks import BackgroundTask
from litestar.response import Stream

from service.errors import ApiError, RateLimited


@dataclass(slots=True)
class Place:
    """The place of one request, from before its first query to the end of its response, however that ends."""

    _release: Callable[[], None]
    _released: bool = False

    def release(self) -> None:
        """Give the place back; a second call does nothing."""
        if not self._released:
            self._released = True
            self._release()

    def stream(self, chunks: AsyncIterator[bytes], *, headers: dict[str, str]) -> Stream:
        """A streamed response that gives the place back at its end.

        An iterator that was never begun does not end either, so the place is also given back after the response.
        """

        async def counted() -> AsyncIterator[bytes]:
            try:
                async for chunk in chunks:
                    yield chunk
            finally:
                self.release()

        async def after_response() -> None:
            self.release()

        return Stream(counted(), headers=headers, background=BackgroundTask(after_response))


class ConcurrentRequests:
    """Counts the requests of one kind by project. A project above the `maximum` is refused until one has ended."""

    def __init__(self, maximum: int, refusal: Callable[[int], ApiError]) -> None:
        self._maximum = maximum
        self._refusal = refusal
        self._in_progress: Counter[str] = Counter()

    def begin(self, project_id: str) -> Place:
        """Count a request until its place is released. Raises the refusal above the maximum."""
        if self._in_progress[project_id] >= self._maximum:
            raise self._refusal(self._maximum)
        self._in_progress[project_id] += 1
        return Place(lambda: self._end(project_id))

    @contextmanager
    def occupy(self, project_id: str) -> Iterator[None]:
        """Count a request during the block. Raises the refusal above the maximum."""
        place = self.begin(project_id)
        try:
            yield
        finally:
            place.release()

    def has_any(self, project_id: str) -> bool:
        """Whether the project has a request in progress."""
        return project_id in self._in_progress

    def _end(self, project_id: str) -> None:
        self._in_progress[project_id] -= 1
        if not self._in_progress[project_id]:
            del self._in_progress[project_id]


class Requests(ConcurrentRequests):
    """Requests of every kind, from the check of the key to the end of the response."""

    def __init__(self, maximum: int) -> None:
        super().__init__(maximum, lambda limit: _refused(limit, "requests", " (TUNEGATE_MAX_CONCURRENT_REQUESTS)"))


class Uploads(ConcurrentRequests):
    """Requests that write a file to storage: uploads of files and of parts, and completions, which copy the parts."""

    def __init__(self, maximum: int) -> None:
        super().__init__(maximum, lambda limit: _refused(limit, "uploads", " (TUNEGATE_MAX_CONCURRENT_UPLOADS)"))


class Downloads(ConcurrentRequests):
    """Downloads of files, each of which has up to some megabytes of the file in memory while its client reads."""

    def __init__(self, maximum: int) -> None:
        super().__init__(maximum, lambda limit: _refused(limit, "downloads", " (TUNEGATE_MAX_CONCURRENT_DOWNLOADS)"))


MAX_EXPORTS = 2


class Exports(ConcurrentRequests):
    """Exports of a comparison's cases, each of which reads them all."""

    def __init__(self) -> None:
        super().__init__(MAX_EXPORTS, lambda limit: _refused(limit, "exports", ""))


def _refused(limit: int, kind: str, setting: str) -> RateLimited:
    return RateLimited(
        f"The project has {limit} {kind} in progress in this process, which is the limit{setting}. Try again when one "
        "has ended.",
        retry_after_seconds=1,
    )
