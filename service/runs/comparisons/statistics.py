"""Statistics of a comparison: means, pass rates and win rates with 95 % confidence intervals.

The formulas are scipy's: Wilson's interval of a rate (Wilson, 1927), and the percentile bootstrap of a mean (Efron,
1979), seeded so that the same scores have the same interval. scipy takes 100 MB and a second to import; only the worker
that grades a comparison imports it, never the API's process.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

CONFIDENCE = 0.95
RESAMPLES = 2_000
_RESAMPLED_AT_ONCE = 100


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """A figure with its 95 % interval. All are null without a measurement, the bounds also with a single one."""

    value: float | None
    low: float | None
    high: float | None


class Wins(msgspec.Struct, frozen=True, kw_only=True):
    """How often a model's answer scored higher than the first model's, the same, and lower.

    `rate` is the share of wins among the cases that are not ties.
    """

    wins: int
    ties: int
    losses: int
    rate: Estimate


NOTHING = Estimate(value=None, low=None, high=None)


def rate(successes: int, trials: int) -> Estimate:
    """A rate with Wilson's interval."""
    if not trials:
        return NOTHING
    from scipy.stats import binomtest

    interval = binomtest(successes, trials).proportion_ci(confidence_level=CONFIDENCE, method="wilson")
    return _estimate(successes / trials, interval)


def mean(values: Sequence[float], *, seed: int) -> Estimate:
    """A mean with its bootstrap interval. For paired differences, an interval above zero shows a better model."""
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
    """Wins, ties and losses by comparing two models' scores case by case; `theirs` are the first model's."""
    won = sum(one > other for one, other in zip(mine, theirs, strict=True))
    lost = sum(one < other for one, other in zip(mine, theirs, strict=True))
    return Wins(wins=won, ties=len(mine) - won - lost, losses=lost, rate=rate(won, won + lost))


def _estimate(value: float, interval: Any) -> Estimate:
    return Estimate(value=_rounded(value), low=_rounded(interval.low), high=_rounded(interval.high))


def _rounded(value: float) -> float:
    return round(float(value), 6)
