"""Name look-ups that do not block each other.

`getaddrinfo` blocks until the name server answers and cannot be cancelled. So each look-up runs in a daemon thread of
its own, concurrent look-ups of one name share a thread, and the number of threads is bounded; a caller may stop waiting
at any time.
"""

import asyncio
import socket
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from ipaddress import ip_address

from service.egress.addresses import Address

MAX_LOOKUPS = 64


class LookupFailed(OSError):
    """The name has no address, or no name server answered."""


def system_lookup(host: str) -> Sequence[Address]:
    """The operating system's look-up, in its order of preference. Blocks. Raises `LookupFailed`."""
    try:
        answers = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        return [ip_address(answer[4][0]) for answer in answers]
    except (OSError, ValueError) as error:
        raise LookupFailed(getattr(error, "strerror", None) or str(error)) from None


class Resolver:
    """Resolves names for one event loop, with a `lookup` function that may block."""

    def __init__(self, lookup: Callable[[str], Sequence[Address]] = system_lookup) -> None:
        self._lookup = lookup
        self._running: dict[str, asyncio.Future[Sequence[Address]]] = {}

    async def addresses(self, host: str) -> Sequence[Address]:
        """The addresses of `host` in the order to try them; an address resolves to itself. Raises `LookupFailed`."""
        try:
            return [ip_address(host)]
        except ValueError:
            pass
        pending = self._running.get(host) or self._start(host)
        return await asyncio.shield(pending)

    def _start(self, host: str) -> "asyncio.Future[Sequence[Address]]":
        if len(self._running) >= MAX_LOOKUPS:
            raise LookupFailed("too many names are being looked up")
        loop = asyncio.get_running_loop()
        pending: asyncio.Future[Sequence[Address]] = loop.create_future()
        self._running[host] = pending

        def settle(result: Sequence[Address] | LookupFailed) -> None:
            del self._running[host]
            if isinstance(result, LookupFailed):
                pending.set_exception(result)
                pending.exception()  # marks it as retrieved: every caller may have stopped waiting
            else:
                pending.set_result(result)

        def look_up() -> None:
            result: Sequence[Address] | LookupFailed
            try:
                result = self._lookup(host)
            except LookupFailed as error:
                result = error
            with suppress(RuntimeError):  # the loop has closed, so no caller waits for the result
                loop.call_soon_threadsafe(settle, result)

        threading.Thread(target=look_up, daemon=True, name="egress-dns").start()
        return pending
