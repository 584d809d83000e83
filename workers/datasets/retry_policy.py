"""How often work on a dataset is tried. Pure.

A try is counted before it is made, for the dataset may take the whole worker down with it; but a worker dies of other
things too, and then the dataset is not at fault. So five crashes of the process that works on it are the end, or twenty
tries of which nobody lived to tell: a crash counts as four tries. A store that is away is no try at all.
"""

from dataclasses import dataclass

MAX_ATTEMPTS = 20
STORE_UNAVAILABLE = "The store of datasets does not answer."
STORE_UNAVAILABLE_SECONDS = 10.0
_TRIES_A_CRASH = 4
_FIRST_PAUSE_SECONDS = 2.0
_PAUSE_GROWS = 3.0


@dataclass(frozen=True, slots=True)
class Again:
    """Try again in so many seconds; until then so many tries count."""

    tries: int
    in_seconds: float


def after_failure(tries: int, *, store_unavailable: bool) -> Again | None:
    """What follows a failed try, which was counted as the `tries`-th; None: the work is given up.

    After a crash the pauses grow: 2 s, 6 s, 18 s, 54 s.
    """
    if store_unavailable:
        return Again(tries - 1, STORE_UNAVAILABLE_SECONDS)
    counted = tries + _TRIES_A_CRASH - 1
    if counted >= MAX_ATTEMPTS:
        return None
    return Again(counted, _FIRST_PAUSE_SECONDS * _PAUSE_GROWS ** max(0, counted // _TRIES_A_CRASH - 1))
