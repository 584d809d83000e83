"""Places of one process that projects share by `service/fair_shares.py`: a semaphore that knows projects."""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from itertools import islice

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
        self._last_admissions: dict[str, float] = {}
        """Of projects that wait: when each was last given a place."""

    @asynccontextmanager
    async def occupy(self, project_id: str) -> AsyncIterator[None]:
        """Wait for a place and occupy it during the block. Raises `PlacesFull`."""
        await self.take(project_id)
        try:
            yield
        finally:
            self.release(project_id)

    @contextmanager
    def occupy_at_once(self, project_id: str) -> Iterator[bool]:
        """Yields whether the project got a place without waiting; if so, it is occupied during the block."""
        taken = self.take_at_once(project_id)
        try:
            yield taken
        finally:
            if taken:
                self.release(project_id)

    def occupied_by(self, project_id: str) -> int:
        """How many places the project occupies now."""
        return self._occupied[project_id]

    def take_at_once(self, project_id: str) -> bool:
        """Occupy a place until `release` if the project need not wait for one; returns whether it got one."""
        if self._waiting.get(project_id) or not self._has_room(project_id):
            return False
        self._occupied[project_id] += 1
        return True

    async def take(self, project_id: str) -> None:
        """Wait for a place and occupy it until `release`, for work that outlasts its caller. Raises `PlacesFull`."""
        if self.take_at_once(project_id):
            return
        if self._max_waiting is not None and len(self._waiting.get(project_id, ())) >= self._max_waiting:
            raise PlacesFull
        queue = self._waiting.setdefault(project_id, deque())
        loop = asyncio.get_running_loop()
        entry = Waiting(loop.create_future(), loop.time())
        queue.append(entry)
        try:
            await entry.item
        except asyncio.CancelledError:
            if not entry.item.cancelled():
                self.release(project_id)
            raise
        finally:
            queue.remove(entry)
            if not queue:
                self._waiting.pop(project_id, None)
                self._last_admissions.pop(project_id, None)

    def release(self, project_id: str) -> None:
        """Give a place of the project back, and admit what waits."""
        self._occupied[project_id] -= 1
        if not self._occupied[project_id]:
            del self._occupied[project_id]
        if not self._waiting:
            return
        free = self.places - self._occupied.total()
        waiting = {
            each: list(islice((entry for entry in queue if not entry.item.done()), free))
            for each, queue in self._waiting.items()
        }
        admissions = fill(waiting, self._occupied, places=self.places, last_admissions=self._last_admissions)
        for admitted, future in list(admissions):
            self._occupied[admitted] += 1
            self._last_admissions[admitted] = future.get_loop().time()
            future.set_result(None)

    def _has_room(self, project_id: str) -> bool:
        total = self._occupied.total()
        occupied = self._occupied[project_id]
        return total < self.places and occupied < share(self.places, total - occupied)
