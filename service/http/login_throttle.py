"""Slows down guessing of keys: limits the refusals of each client address, and never what turns out to be valid.

A credential is checked first. Only if it is refused does the throttle decide what the refusal looks like: 401, or above
the limit 429 with `Retry-After`. So nobody is refused because of others at the same address, as behind a load balancer,
after a restart or with a key that was never used before. What checking costs is bounded elsewhere: by a key's form and
checksum, and by look-ups that share queries (`service/database/batched_lookups.py`).
"""

import math
import time
from collections.abc import Callable

from service.errors import RateLimited, Unauthenticated
from service.http.client_address import network_of

WINDOW_SECONDS = 60.0
MAX_COUNTED = 10_000
"""Addresses that are counted at a time. Above it the oldest count is forgotten."""

MISSING = "missing_api_key"
"""The code of the refusal of a request without a key, which is not a guess and does not count."""


class LoginThrottle:
    """Counts refused credentials, within this process, in windows that begin with an address's first refusal."""

    def __init__(self, *, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_minute = per_minute
        self._clock = clock
        self._counts: dict[tuple[str, str], tuple[float, int]] = {}
        """For each address and purpose the end of its window and its refusals, the earliest end first."""

    def count(
        self, refused: Unauthenticated, address: str | None, *, purpose: str = ""
    ) -> Unauthenticated | RateLimited:
        """Count a refusal and return the error for its caller: `refused` itself, or `RateLimited` above the limit.

        Refusals for different purposes are counted apart.
        """
        if refused.code == MISSING:
            return refused
        now = self._clock()
        key = (network_of(address), purpose)
        ends_at, count = self._counts.get(key, (0.0, 0))
        if ends_at <= now:
            self._counts.pop(key, None)
            if len(self._counts) >= MAX_COUNTED:
                del self._counts[next(iter(self._counts))]
            ends_at, count = now + WINDOW_SECONDS, 0
        self._counts[key] = (ends_at, min(count + 1, self._per_minute + 1))
        if count < self._per_minute:
            return refused
        return RateLimited(
            f"More than {self._per_minute:,} requests a minute with incorrect credentials came from your address "
            "(TUNEGATE_FAILED_KEYS_PER_MINUTE), and this one's is incorrect too. Check it and try again later.",
            retry_after_seconds=math.ceil(ends_at - now),
        )
