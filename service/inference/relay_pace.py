"""The pace of streamed answers: how many events of a project's streams are relayed in a second."""

import asyncio

MAX_EVENTS_PER_SECOND = 5_000
"""Relaying an event takes some 30 µs of the process's event loop, so one project's streams occupy a part of it."""

BURST_SECONDS = 0.2
MIN_WAIT_SECONDS = 0.01
"""A shorter wait is not worth a timer; it is waited for later, with the next events."""

MAX_PROJECTS = 10_000


class RelayPaces:
    """When each project's next event may be relayed, in seconds of the loop's clock. One per process."""

    def __init__(self, *, per_second: int = MAX_EVENTS_PER_SECOND) -> None:
        self._seconds_per_event = 1 / per_second
        self._next_at: dict[str, float] = {}

    async def wait(self, project_id: str) -> None:
        """Wait until another event of the project may be relayed."""
        now = asyncio.get_running_loop().time()
        if len(self._next_at) >= MAX_PROJECTS:
            self._next_at = {each: at for each, at in self._next_at.items() if at > now}
        at = max(self._next_at.get(project_id, 0.0), now - BURST_SECONDS)
        self._next_at[project_id] = at + self._seconds_per_event
        if at - now > MIN_WAIT_SECONDS:
            await asyncio.sleep(at - now)
