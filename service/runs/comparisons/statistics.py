"""How sure the figures of a comparison are: means, pass rates and win rates with 95 % confidence intervals.

The formulas are scipy's: Wilson's interval of a rate (Wilson, 1927), and the percentile bootstrap of a mean (Efron,
1979) with a seed, so that the same scores have the same interval. scipy takes 100 MB and a second to import, so that
is done where a comparison is finished, and never in the API's process.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

CONFIDENCE = 0.95
RESAMPLES = 2_000
_RESAMPLED_AT_ONCE = 100


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """A figure and its interval; both null where nothing was measured, the bounds also where one value tells none."""

    value: float | None
    low: float | None
    high: float | None


class Wins(msgspec.Struct, frozen=True, kw_only=True):
    """How often a model's answer was better than the first model's, as good, and worse.

    `rate` is the share of wins among the rows that one of the two has won: ties say nothing of it.
    """

    wins: int
    ties: int
    losses: int
    rate: Estimate


NOTHING = Estimate(value=None, low=None, high=None)


def rate(successes: int, trials: int) -> Estimate:
    """A share with Wilson's interval."""
    if not trials:
        return NOTHING
    from scipy.stats import binomtest

    interval = binomtest(successes, trials).proportion_ci(confidence_level=CONFIDENCE, method="wilson")
    return _estimate(successes / trials, interval)


def mean(values: Sequence[float], *, seed: int) -> Estimate:
    """A mean with its bootstrap interval; of paired differences, how much better one is than the other."""
    if not values:
        return NOTHING
    if len(values) == 1:
        return Estimate(value=_rounded(values[0]), low=None, high=None)
    import numpy as np
    from scipy.stats import bootstrap

    result = bootstrap(
        (np.asarray(values, dtype=float),),
        np.mean,
        n_resamples=RESAMPLES,
        batch=_RESAMPLED_AT_ONCE,
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    return _estimate(float(np.mean(values)), result.confidence_interval)


def wins(mine: Sequence[float], theirs: Sequence[float]) -> Wins:
    """Row by row, whose score is higher; `theirs` is the first model's."""
    won = sum(one > other for one, other in zip(mine, theirs, strict=True))
    lost = sum(one < other for one, other in zip(mine, theirs, strict=True))
    return Wins(wins=won, ties=len(mine) - won - lost, losses=lost, rate=rate(won, won + lost))


def _estimate(value: float, interval: Any) -> Estimate:
    return Estimate(value=_rounded(value), low=_rounded(interval.low), high=_rounded(interval.high))


def _rounded(value: float) -> float:
    return round(float(value), 6)
