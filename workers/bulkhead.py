"""How many of a worker's steps may be about one upstream account at a time.

A step about an account that hangs takes as long as its time-outs. So that such an account never has all the steps of a
worker, it gets at most three quarters of what the others leave, and no more than two once it has not answered a few
times in a row. What goes beyond is put back and not claimed while the account is full.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

PROBES = 2
"""Steps that find out whether an account that did not answer does so again."""


class Bulkhead:
    """One for each worker. `is_unavailable` says whether an account does not respond."""

    def __init__(self, at_a_time: int, is_unavailable: Callable[[str], bool]) -> None:
        self._at_a_time = at_a_time
        self._is_unavailable = is_unavailable
        self._under_way: Counter[str] = Counter()

    @contextmanager
    def take(self, account_id: str) -> Iterator[bool]:
        """Whether a step about the account may be done now; if so, it counts until the end of the block."""
        if self._under_way[account_id] >= self._most(account_id):
            yield False
            return
        self._under_way[account_id] += 1
        try:
            yield True
        finally:
            self._under_way[account_id] -= 1

    def full(self) -> list[str]:
        """The accounts about which no further step may be begun."""
        return [account_id for account_id, steps in self._under_way.items() if steps >= self._most(account_id)]

    def _most(self, account_id: str) -> int:
        if self._is_unavailable(account_id):
            return PROBES
        others = self._under_way.total() - self._under_way[account_id]
        return max(1, (self._at_a_time - others) * 3 // 4)
