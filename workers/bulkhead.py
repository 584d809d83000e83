"""A bulkhead: limits how many of a worker's concurrent steps call one upstream account.

A step that calls an unresponsive account takes as long as its timeouts. So that such an account never occupies every
step of a worker, an account gets at most three quarters of the steps that the others leave, and at most two once it
has not responded a few times in a row. Further jobs of the account are given back, and not claimed while it is full.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

PROBES = 2
"""Concurrent steps that probe whether an unresponsive account responds again."""


class Bulkhead:
    """The bulkhead of one worker. `is_unavailable` returns whether an account does not respond."""

    def __init__(self, concurrency: int, is_unavailable: Callable[[str], bool]) -> None:
        self._concurrency = concurrency
        self._is_unavailable = is_unavailable
        self._running: Counter[str] = Counter()

    @contextmanager
    def enter(self, account_id: str) -> Iterator[bool]:
        """Yields whether a step may call the account now; if so, it counts until the end of the block."""
        if self._running[account_id] >= self._limit(account_id):
            yield False
            return
        self._running[account_id] += 1
        try:
            yield True
        finally:
            self._running[account_id] -= 1

    def full(self) -> list[str]:
        """The accounts that no further step may call."""
        return [account_id for account_id, steps in self._running.items() if steps >= self._limit(account_id)]

    def _limit(self, account_id: str) -> int:
        if self._is_unavailable(account_id):
            return PROBES
        others = self._running.total() - self._running[account_id]
        return max(1, (self._concurrency - others) * 3 // 4)
