"""When work on a dataset is attempted again, and when it is given up. Pure.

An attempt is counted before it is made, since the dataset may kill the whole worker; but workers also die for reasons
that have nothing to do with the dataset. So a crash of the process counts as four attempts, and the death of a worker
as one: work is given up after five crashes, or after twenty attempts whose worker died. An attempt that fails because
the store of datasets is unavailable is not counted.
"""

from dataclasses import dataclass

MAX_ATTEMPTS = 20
STORE_UNAVAILABLE = "The store of datasets does not answer."
STORE_UNAVAILABLE_SECONDS = 10.0
_ATTEMPTS_PER_CRASH = 4
_FIRST_PAUSE_SECONDS = 2.0
_PAUSE_FACTOR = 3.0


@dataclass(frozen=True, slots=True)
class Retry:
    """Another attempt in `in_seconds`, with `attempts` counted so far."""

    attempts: int
    in_seconds: float


def after_failure(attempts: int, *, store_unavailable: bool) -> Retry | None:
    """The next attempt after a failed one, which was counted as number `attempts`; None gives the work up.

    After a crash the pauses grow: 2 s, 6 s, 18 s, 54 s.
    """
    if store_unavailable:
        return Retry(attempts - 1, STORE_UNAVAILABLE_SECONDS)
    counted = attempts + _ATTEMPTS_PER_CRASH - 1
    if counted >= MAX_ATTEMPTS:
        return None
    return Retry(counted, _FIRST_PAUSE_SECONDS * _PAUSE_FACTOR ** max(0, counted // _ATTEMPTS_PER_CRASH - 1))
