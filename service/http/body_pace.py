"""The pace of a request's body: a client that sends a byte a minute would occupy its connection and place for years.

Only time in which the service waits for the client counts, and none in which it stores what has come.
"""

import asyncio
from typing import Any

from litestar.types import Receive

from service.errors import RequestTimeout

CLOSE = {"connection": "close"}
"""The header of a refusal before the end of the body, whose rest would otherwise be read."""

MIN_BYTES_PER_SECOND = 1024
"""What a body must have on average. GPRS, the slowest mobile network, has 4 KB/s."""


class PacedBody:
    """The `receive` of one request. It raises `RequestTimeout` for a body that pauses or comes too slowly.

    The client may be waited for `idle_seconds`. Each KiB that comes adds a second, up to `idle_seconds` again.
    """

    def __init__(self, receive: Receive, *, idle_seconds: float) -> None:
        self._receive = receive
        self._idle_seconds = idle_seconds
        self._left_seconds = idle_seconds
        self._complete = False

    async def __call__(self) -> Any:
        """The next message of ASGI."""
        if self._complete:
            return await self._receive()
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            async with asyncio.timeout(self._left_seconds):
                message: Any = await self._receive()
        except TimeoutError:
            raise RequestTimeout(
                f"The body arrived with less than {MIN_BYTES_PER_SECOND:,} bytes a second over "
                f"{self._idle_seconds:g} s (TUNEGATE_BODY_IDLE_SECONDS). Send it again, without pauses.",
                headers=CLOSE,
            ) from None
        self._complete = message["type"] != "http.request" or not message.get("more_body", False)
        earned = len(message.get("body", b"")) / MIN_BYTES_PER_SECOND
        self._left_seconds = min(self._left_seconds + earned - (loop.time() - began), self._idle_seconds)
        return message
