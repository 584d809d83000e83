"""Name look-ups that do not block each other, and of which each project gets a fair share.

`getaddrinfo` blocks until the name server answers and cannot be cancelled. So each look-up runs in a daemon thread of
its own and occupies a place of its owner until the thread returns, whether or not a caller still waits for it. Owners
share the places by `service/fair_places.py`: names that never resolve occupy a part of them, and others' names are
looked up meanwhile. Concurrent look-ups of one name by one owner share a thread.

    LookupFailed        the name has no address, or the name server answered with an error
    LookupTimedOut      no answer came in time, or the owner's other look-ups occupied its places for that time
"""

import asyncio
import socket
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from ipaddress import ip_address

from service.egress.addresses import Address
from service.fair_places import FairPlaces

MAX_LOOKUPS = 256
"""Threads that look up names, of one resolver. A waiting thread costs some 20 KB."""

GATEWAY = ""
"""The owner of look-ups for the gateway's own connections: upstream accounts that projects share."""


class LookupFailed(OSError):
    """The name has no address, or the name server answered with an error."""


class LookupTimedOut(TimeoutError):
    """There was no answer in time. The message says whether the look-up had a place."""


def system_lookup(host: str) -> Sequence[Address]:
    """The operating system's look-up, in its order of preference. Blocks. Raises `LookupFailed`."""
    try:
        answers = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        return [ip_address(answer[4][0]) for answer in answers]
    except (OSError, ValueError) as error:
        raise LookupFailed(getattr(error, "strerror", None) or str(error)) from None


class Resolver:
    """Resolves names for one event loop, with a `lookup` function that may block, in at most `places` threads."""

    def __init__(
        self, lookup: Callable[[str], Sequence[Address]] = system_lookup, *, places: int = MAX_LOOKUPS
    ) -> None:
        self._lookup = lookup
        self._places = FairPlaces(places)
        self._running: dict[tuple[str, str], asyncio.Future[Sequence[Address]]] = {}

    async def addresses(self, host: str, *, owner: str, timeout_seconds: float | None = None) -> Sequence[Address]:
        """The addresses of `host` in the order to try them; an address resolves to itself.

        `owner` is the project for which the name is looked up, or `GATEWAY`. Raises `LookupFailed` and
        `LookupTimedOut`.
        """
        try:
            return [ip_address(host)]
        except ValueError:
            pass
        pending: asyncio.Future[Sequence[Address]] | None = None
        try:
            async with asyncio.timeout(timeout_seconds):
                pending = self._running.get((owner, host)) or await self._start(owner, host)
                return await asyncio.shield(pending)
        except TimeoutError:
            raise LookupTimedOut(self._why_late(owner, started=pending is not None, seconds=timeout_seconds)) from None

    def _why_late(self, owner: str, *, started: bool, seconds: float | None) -> str:
        if started:
            return f"the name servers did not answer within {seconds:g} s"
        occupied = self._places.occupied_by(owner)
        return (
            f"the name was not looked up within {seconds:g} s: {occupied} look-ups of other names of the project are "
            f"not answered, which is its share of {self._places.places}"
        )

    async def _start(self, owner: str, host: str) -> "asyncio.Future[Sequence[Address]]":
        await self._places.take(owner)
        if (running := self._running.get((owner, host))) is not None:  # another caller has begun meanwhile
            self._places.release(owner)
            return running
        loop = asyncio.get_running_loop()
        pending: asyncio.Future[Sequence[Address]] = loop.create_future()
        self._running[owner, host] = pending

        def settle(result: Sequence[Address] | LookupFailed) -> None:
            del self._running[owner, host]
            self._places.release(owner)
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

        try:
            threading.Thread(target=look_up, daemon=True, name="egress-dns").start()
        except RuntimeError as error:  # the system has no thread for it
            settle(LookupFailed(str(error)))
        return pending
