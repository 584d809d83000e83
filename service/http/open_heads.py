"""The connections on which no request is being answered: each has a deadline, and their number is limited.

A connection is one of these from its beginning until the head of its first request is complete, and again between two
requests. Without a limit, connections that send nothing would use up the file descriptors of the process.
"""

import asyncio
from collections import OrderedDict
from typing import Protocol


class Connection(Protocol):
    """A connection whose next request is not complete."""

    def head_expired(self) -> None:
        """End the connection: its deadline has passed."""
        ...

    def displaced(self) -> None:
        """End the connection: there are too many of its kind, and it is the oldest."""
        ...


class OpenHeads:
    """The connections of one process, oldest first; all have the same time, so the oldest expires first."""

    def __init__(self, *, max_open: int, seconds: float) -> None:
        self._max_open = max_open
        self._seconds = seconds
        self._deadlines: OrderedDict[Connection, float] = OrderedDict()
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._deadlines)

    def add(self, connection: Connection) -> None:
        """Give a connection its deadline, unless it has one. Beyond the limit the oldest connection is ended."""
        if connection in self._deadlines:
            return
        self._deadlines[connection] = asyncio.get_running_loop().time() + self._seconds
        if len(self._deadlines) > self._max_open:
            oldest, _ = self._deadlines.popitem(last=False)
            oldest.displaced()
        self._set_timer()

    def discard(self, connection: Connection) -> None:
        """Forget a connection whose request is complete, or that is closed."""
        self._deadlines.pop(connection, None)

    def _set_timer(self) -> None:
        if self._timer is None and self._deadlines:
            self._timer = asyncio.get_running_loop().call_at(next(iter(self._deadlines.values())), self._expire)

    def _expire(self) -> None:
        self._timer = None
        now = asyncio.get_running_loop().time()
        while self._deadlines and next(iter(self._deadlines.values())) <= now:
            connection, _ = self._deadlines.popitem(last=False)
            connection.head_expired()
        self._set_timer()
