"""Resolves a host name, checks its addresses against the address rules, and connects to one that is allowed.

A name can change between a check and its use, so the rules are applied to the address that is dialled.
"""

from collections.abc import Iterable, Sequence
from contextlib import suppress

import httpcore2

from service.egress import addresses
from service.egress.addresses import Address, ForbiddenHost, Reach
from service.egress.connections import Backend
from service.egress.resolver import Resolver

CONNECT_SECONDS = 5.0
"""How long one of several addresses may take to connect before the next one is tried."""

LOOKUP_SECONDS = 20.0
"""How long a look-up may take, the wait for a place included."""

MAX_ADDRESSES = 4


def allowed_addresses(host: str, found: Sequence[Address], reach: Reach) -> list[Address]:
    """The host's addresses that may be dialled, at most `MAX_ADDRESSES`. Raises `ForbiddenHost` when there is none."""
    reasons = {address: addresses.forbidden(address, reach) for address in found}
    allowed = [address for address, reason in reasons.items() if reason is None]
    if not allowed:
        listed = ", ".join(f"{address} is {reason}" for address, reason in reasons.items())
        raise ForbiddenHost(host, listed)
    return allowed[:MAX_ADDRESSES]


class Dialler(httpcore2.AsyncNetworkBackend):
    """An httpcore2 network backend that connects only to addresses that `reach` allows.

    `owner` is the project whose look-ups these are, or `resolver.GATEWAY`; one takes at most `lookup_seconds`, or the
    timeout of its connection if that is shorter.
    """

    def __init__(self, resolver: Resolver, reach: Reach, *, owner: str, lookup_seconds: float = LOOKUP_SECONDS) -> None:
        self._resolver = resolver
        self._reach = reach
        self._owner = owner
        self._lookup_seconds = lookup_seconds
        self._backend = Backend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Resolve the name and connect to the first of its allowed addresses that accepts the connection.

        Raises `LookupFailed`, `LookupTimedOut`, `ForbiddenHost` when no address is allowed, and httpcore2's connection
        errors.
        """
        lookup_seconds = self._lookup_seconds if timeout is None else min(timeout, self._lookup_seconds)
        found = await self._resolver.addresses(host, owner=self._owner, timeout_seconds=lookup_seconds)
        *first, last = allowed_addresses(host, found, self._reach)
        for address in first:
            with suppress(httpcore2.ConnectError, httpcore2.ConnectTimeout):
                return await self._backend.connect_tcp(
                    str(address), port, timeout=CONNECT_SECONDS, socket_options=socket_options
                )
        return await self._backend.connect_tcp(str(last), port, timeout=timeout, socket_options=socket_options)

    async def sleep(self, seconds: float) -> None:
        """Sleep between httpcore2's own connection retries."""
        await self._backend.sleep(seconds)
