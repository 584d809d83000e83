"""Slows down guessing of keys: limits failed authentications for each address of a connection's peer.

Behind a load balancer many callers share an address, and the limit must not lock them out: a credential that has worked
recently is still authenticated, whatever other callers at its address do. Forwarding headers are never read.
"""

import hashlib
import ipaddress
import math
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from service.errors import RateLimited, Unauthenticated
from service.http.rate_limits import RateLimiter

Who = TypeVar("Who")

PROVEN_SECONDS = 600.0
MAX_PROVEN = 10_000
MISSING = "missing_api_key"
"""The code of the refusal of a request without a key, which is not a guess and does not count."""


class LoginThrottle:
    """Counts failed authentications, within this process."""

    def __init__(self, *, per_minute: int) -> None:
        self._per_minute = per_minute
        self._failures = RateLimiter("")
        self._blocked: dict[str, float] = {}
        self._proven: dict[bytes, float] = {}

    async def throttle(
        self, peer: str | None, credential: str | None, authenticate: Callable[[], Awaitable[Who]]
    ) -> Who:
        """Run `authenticate`, and count its failure against the address of `peer`.

        While the address has too many failures, raises `RateLimited` without running it, unless the credential has
        worked recently.
        """
        digest = hashlib.sha256((credential or "").encode()).digest()
        address = peer_address(peer)
        left = self._blocked.get(address, 0.0) - time.monotonic()
        if left > 0 and credential and self._proven.get(digest, 0.0) < time.monotonic():
            raise RateLimited(
                "Too many requests with incorrect API keys came from your address. Check the key and try again later.",
                retry_after_seconds=math.ceil(left),
            )
        try:
            who = await authenticate()
        except Unauthenticated as refused:
            if refused.code != MISSING:
                self._proven.pop(digest, None)
                await self._count_failure(address)
            raise
        if len(self._proven) >= MAX_PROVEN:
            self._proven.clear()
        self._proven[digest] = time.monotonic() + PROVEN_SECONDS
        return who

    async def _count_failure(self, address: str) -> None:
        verdict = await self._failures.take(address, per_minute=self._per_minute)
        if verdict is None or verdict.remaining > 0:
            return
        now = time.monotonic()
        self._blocked = {each: until for each, until in self._blocked.items() if until > now}
        self._blocked[address] = now + (verdict.retry_after_seconds or 1)


def peer_address(peer: str | None) -> str:
    """The address that failures count against: an IPv4 address, or the /64 of an IPv6 one, the least a host has."""
    try:
        address = ipaddress.ip_address((peer or "").partition("%")[0])
    except ValueError:
        return peer or "unknown"
    if isinstance(address, ipaddress.IPv6Address):
        return str(address.ipv4_mapped or ipaddress.ip_network((address, 64), strict=False))
    return str(address)
