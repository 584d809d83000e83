"""Exponential back-off, the one formula for it. Pure.

It has no jitter: rows of leased work fail at different times, and workers claim only as many of them as they have room
for. Deliveries of webhooks follow a documented table instead (`service/webhooks/schedule.py`).
"""

import math

_MAX_DOUBLINGS = 32
"""Bounds the exponent, so that no number of failures overflows a float."""


def backoff_seconds(failures: int, *, base_seconds: float = 1.0, max_seconds: float = math.inf) -> float:
    """The pause after `failures` failures in a row: `base_seconds`, doubled by each of them, at most `max_seconds`."""
    return min(base_seconds * 2.0 ** min(failures, _MAX_DOUBLINGS), max_seconds)
