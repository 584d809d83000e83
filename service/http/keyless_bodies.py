"""Bodies of requests without a key: anyone may send one, so their number and time are limited in all.

Above the number the oldest is ended, not the newest: an honest body comes at once, behind its headers, and is read
before as many others begin. So no number of slow ones, from whatever address, keeps it from being read.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from service.errors import RequestTimeout
from service.http.body_pace import CLOSE

MAX_BODIES = 256
"""Bodies without a key that a process reads at a time: 16 MiB, if each has the 64 KiB of an upstream's webhook."""

BODY_SECONDS = 10.0
"""How long one may take."""


class KeylessBodies:
    """The bodies of one process that are being read, oldest first."""

    def __init__(self, *, max_bodies: int = MAX_BODIES, seconds: float = BODY_SECONDS) -> None:
        self._max_bodies = max_bodies
        self._seconds = seconds
        self._open: dict[asyncio.Timeout, None] = {}

    async def read(self, body: Callable[[], Awaitable[bytes]]) -> bytes:
        """What `body` reads, whose size the route limits. Raises `RequestTimeout` if it is too slow or displaced."""
        timeout = asyncio.timeout(self._seconds)
        try:
            async with timeout:
                self._open[timeout] = None
                if len(self._open) > self._max_bodies:
                    self._end(next(iter(self._open)))
                return await body()
        except TimeoutError:
            raise RequestTimeout(
                f"The body did not arrive within {self._seconds:g} s, or {self._max_bodies} newer ones without an API "
                "key are being read. Send it at once.",
                headers=CLOSE,
            ) from None
        finally:
            self._open.pop(timeout, None)

    def _end(self, timeout: asyncio.Timeout) -> None:
        del self._open[timeout]
        with suppress(RuntimeError):  # it has just expired by itself
            timeout.reschedule(asyncio.get_running_loop().time())
