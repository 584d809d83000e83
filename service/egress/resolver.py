"""Name look-ups that cannot hold each other up.

`getaddrinfo` blocks for as long as a name server pleases and cannot be cancelled. Each look-up has a daemon thread of
its own, look-ups of one name at a time share one, and their number is bounded; a caller stops waiting when it wants.
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
    """The name has no address, or the name servers do not say."""


def system_lookup(host: str) -> Sequence[Address]:
    """The machine's own look-up, in the order in which it wants the addresses tried. Blocks. Raises `LookupFailed`."""
    try:
        answers = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        return [ip_address(answer[4][0]) for answer in answers]
    except (OSError, ValueError) as error:
        raise LookupFailed(getattr(error, "strerror", None) or str(error)) from None


class Resolver:
    """Looks names up for one event loop, by a function that may block."""

    def __init__(self, lookup: Callable[[str], Sequence[Address]] = system_lookup) -> None:
        self._lookup = lookup
        self._running: dict[str, asyncio.Future[Sequence[Address]]] = {}

    async def addresses(self, host: str) -> Sequence[Address]:
        """The addresses of `host`, in the order to try them; of an address, itself. Raises `LookupFailed`."""
        try:
            return [ip_address(host)]
        except ValueError:
            pass
        found = self._running.get(host) or self._start(host)
        return await asyncio.shield(found)

    def _start(self, host: str) -> "asyncio.Future[Sequence[Address]]":
        if len(self._running) >= MAX_LOOKUPS:
            raise LookupFailed("too many names are being looked up")
        loop = asyncio.get_running_loop()
        found: asyncio.Future[Sequence[Address]] = loop.create_future()
        self._running[host] = found

        def settle(result: Sequence[Address] | LookupFailed) -> None:
            del self._running[host]
            if isinstance(result, LookupFailed):
                found.set_exception(result)
                found.exception()  # nobody may be waiting any more
            else:
                found.set_result(result)

        def look_up() -> None:
            result: Sequence[Address] | LookupFailed
            try:
                result = self._lookup(host)
            except LookupFailed as error:
                result = error
            with suppress(RuntimeError):  # the loop has closed, and nobody waits any more
                loop.call_soon_threadsafe(settle, result)

        threading.Thread(target=look_up, daemon=True, name="webhook-dns").start()
        return found
