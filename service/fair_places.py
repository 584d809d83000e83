"""Places of one process that projects share by `service/fair_shares.py`: a semaphore that knows projects."""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from service.fair_shares import Waiting, fill, share


class PlacesFull(Exception):
    """The project has as many waiting as it may: what asks for a place is refused, and may be repeated later."""


class FairPlaces:
    """A number of places. Each project occupies at most its share, and a free place goes to the one with the fewest.

    `max_waiting` is how many may wait for a project, beyond which `occupy` raises `PlacesFull`; None: no limit.
    """

    def __init__(self, places: int, *, max_waiting: int | None = None) -> None:
        self.places = places
        self._max_waiting = max_waiting
        self._occupied: Counter[str] = Counter()
        self._waiting: dict[str, deque[Waiting[asyncio.Future[None]]]] = {}

    @asynccontextmanager
    async def occupy(self, project_id: str) -> AsyncIterator[None]:
        """Wait for a place and occupy it during the block. Raises `PlacesFull`."""
        await self._take(project_id)
        try:
            yield
        finally:
            self._release(project_id)

    @contextmanager
    def occupy_at_once(self, project_id: str) -> Iterator[bool]:
        """Yields whether the project got a place without waiting; if so, it is occupied during the block."""
        taken = not self._waiting and self._has_room(project_id)
        if taken:
            self._occupied[project_id] += 1
        try:
            yield taken
        finally:
            if taken:
                self._release(project_id)

    def occupied_by(self, project_id: str) -> int:
        """How many places the project occupies now."""
        return self._occupied[project_id]

    async def _take(self, project_id: str) -> None:
        if not self._waiting.get(project_id) and self._has_room(project_id):
            self._occupied[project_id] += 1
            return
        queue = self._waiting.setdefault(project_id, deque())
        if self._max_waiting is not None and len(queue) >= self._max_waiting:
            raise PlacesFull
        loop = asyncio.get_running_loop()
        entry = Waiting(loop.create_future(), loop.time())
        queue.append(entry)
        try:
            await entry.item
        except asyncio.CancelledError:
            if entry.item.done() and not entry.item.cancelled():
                self._release(project_id)
            else:
                self._forget(project_id, entry)
            raise

    def _has_room(self, project_id: str) -> bool:
        total = self._occupied.total()
        occupied = self._occupied[project_id]
        return total < self.places and occupied < share(self.places, total - occupied)

    def _release(self, project_id: str) -> None:
        self._occupied[project_id] -= 1
        if not self._occupied[project_id]:
            del self._occupied[project_id]
        for admitted, future in list(fill(self._waiting, self._occupied, places=self.places)):
            self._occupied[admitted] += 1
            self._forget(admitted, self._waiting[admitted][0])
            future.set_result(None)

    def _forget(self, project_id: str, entry: Waiting[asyncio.Future[None]]) -> None:
        queue = self._waiting[project_id]
        queue.remove(entry)
        if not queue:
            del self._waiting[project_id]
