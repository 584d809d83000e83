"""A bulkhead: limits how many of a worker's concurrent steps call one upstream account.

A step that calls an unresponsive account takes as long as its timeouts. So that such an account never occupies every
step of a worker, or every step that a project may have there, an account gets at most three quarters of the steps that
others leave, and at most two once it has not responded a few times in a row. Further jobs are given back, and not
claimed while there is no room for them. (How many steps a project may have, over all of its accounts, is its share.)
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from service.fair_shares import share

PROBES = 2
"""Concurrent steps that probe whether an unresponsive account responds again."""


class Steps(NamedTuple):
    """The steps of one project that call one account."""

    project_id: str
    account_id: str


class Full(NamedTuple):
    """What no further step may call: accounts, and (project, account) pairs."""

    accounts: list[str]
    pairs: list[Steps]


class Bulkhead:
    """The bulkhead of one worker. `is_unavailable` returns whether an account does not respond."""

    def __init__(self, concurrency: int, is_unavailable: Callable[[str], bool]) -> None:
        self._concurrency = concurrency
        self._is_unavailable = is_unavailable
        self._running: Counter[Steps] = Counter()

    @contextmanager
    def enter(self, project_id: str, account_id: str) -> Iterator[bool]:
        """Yields whether a step of the project may call the account now; if so, it counts until the block's end."""
        steps = Steps(project_id, account_id)
        if not self._has_room(steps):
            yield False
            return
        self._running[steps] += 1
        try:
            yield True
        finally:
            self._running[steps] -= 1
            if not self._running[steps]:
                del self._running[steps]

    def full(self) -> Full:
        """What no further step may call."""
        accounts = {each.account_id for each in self._running}
        return Full(
            accounts=[account_id for account_id in accounts if not self._account_has_room(account_id)],
            pairs=[each for each in self._running if not self._pair_has_room(each)],
        )

    def _has_room(self, steps: Steps) -> bool:
        return self._account_has_room(steps.account_id) and self._pair_has_room(steps)

    def _account_has_room(self, account_id: str) -> bool:
        running = sum(count for each, count in self._running.items() if each.account_id == account_id)
        if self._is_unavailable(account_id):
            return running < PROBES
        return running < _three_quarters(self._concurrency - (self._running.total() - running))

    def _pair_has_room(self, steps: Steps) -> bool:
        of_project = sum(count for each, count in self._running.items() if each.project_id == steps.project_id)
        projects_share = share(self._concurrency, self._running.total() - of_project)
        running = self._running[steps]
        return running < _three_quarters(projects_share - (of_project - running))


def _three_quarters(steps: int) -> int:
    return max(1, steps * 3 // 4)
