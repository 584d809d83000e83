"""How many calls a run has under way, and how long it waits. Pure.

An upstream that says that it is asked too much is asked half as much, and more again as it answers (additive increase,
multiplicative decrease: RFC 5681): so a run keeps within a rate limit that nobody told it.
"""

import math

LEAST_WAIT_SECONDS, MOST_WAIT_SECONDS = 1.0, 60.0
WAIT_SHARE = 0.25
"""Of the time since the last news: so pauses double in about the time that three of them take."""


class Window:
    """How many calls may be under way: `most` at first, and never fewer than one."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._size = float(most)

    @property
    def size(self) -> int:
        """How many now."""
        return math.floor(self._size)

    def answered(self) -> None:
        """One call was answered: a window full of answers makes it one wider."""
        self._size = min(self._most, self._size + 1 / self._size)

    def limited(self) -> None:
        """The upstream is asked too much, or does not answer."""
        self._size = max(1.0, self._size / 2)


def wait_seconds(*, since_news_seconds: float, asked_for_seconds: float | None) -> float:
    """How long to leave an upstream alone: as long as it asks for, or the longer the longer it is away."""
    if asked_for_seconds is not None:
        return max(asked_for_seconds, 0.0)
    return min(max(since_news_seconds * WAIT_SHARE, LEAST_WAIT_SECONDS), MOST_WAIT_SECONDS)
