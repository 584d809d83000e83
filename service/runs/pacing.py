"""The pace of a run's calls: how many are in flight, and how long the run waits for its upstream. Pure.

A rate-limited run halves its calls in flight, then adds one at a time as the upstream answers (additive increase,
multiplicative decrease: RFC 5681). So it finds a rate limit that is not published.
"""

import math

MIN_WAIT_SECONDS, MAX_WAIT_SECONDS = 1.0, 60.0
WAIT_SHARE = 0.25
"""The share of the time since the last answer: pauses double in about the time that three of them take."""


class ConcurrencyWindow:
    """The number of calls that may be in flight: `max_size` at first, and never fewer than one."""

    def __init__(self, max_size: int) -> None:
        self._max_size = max_size
        self._size = float(max_size)

    @property
    def size(self) -> int:
        """The number of calls that may be in flight now."""
        return math.floor(self._size)

    def answered(self) -> None:
        """Grow after an answered call: by one for each full window of answers."""
        self._size = min(self._max_size, self._size + 1 / self._size)

    def limited(self) -> None:
        """Halve after a call that the upstream rate-limited or did not answer."""
        self._size = max(1.0, self._size / 2)


def wait_seconds(*, since_answer_seconds: float, retry_after_seconds: float | None) -> float:
    """How long to pause: as long as the upstream asks for, else in proportion to the time since its last answer."""
    if retry_after_seconds is not None:
        return max(retry_after_seconds, 0.0)
    return min(max(since_answer_seconds * WAIT_SHARE, MIN_WAIT_SECONDS), MAX_WAIT_SECONDS)
