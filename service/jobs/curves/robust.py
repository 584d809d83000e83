"""Robust statistics of a noisy curve: the noise of one value, the level of several, and the slope of a line.

A training loss is that of one batch, so it has outliers upwards and noise that changes with its level. Medians and
differences between neighbours stand both without a model of the curve.
"""

import math
from collections.abc import Sequence
from itertools import combinations, pairwise
from statistics import median
from typing import NamedTuple

MAD_TO_SIGMA = 1.4826
"""Turns a median absolute deviation into the standard deviation of normal noise (Rousseeuw and Croux, 1993)."""

MEDIAN_TO_MEAN = math.sqrt(math.pi / 2)
"""How much larger the standard error of a median is than that of a mean, under normal noise."""

Z_CERTAIN = 3.29
"""0.1 % two-sided. The lowest of ten parts is chosen before it is compared: ten comparisons at 0.1 % are wrong in fewer
than one run of a hundred (Bonferroni)."""

Z_RUNNING = 4.42
"""The same for a job that runs: it gets up to a hundred verdicts, and each is a chance of a false alarm."""

MIN_RUNNING = 30
"""Values of a running job before it is said to diverge or over-fit: the noise of fewer is estimated too roughly."""

Z_95 = 1.96

MIN_POINTS = 8
"""Values from which noise is estimated: with fewer, the median of their second differences is of five or less."""

MAX_SLOPE_POINTS = 120
"""Points of which all pairs are compared: 7,140 slopes."""


class Level(NamedTuple):
    """A median with its standard error."""

    value: float
    error: float


class Slope(NamedTuple):
    """The change of a loss along a window, with its 99 % interval."""

    change: float
    low: float
    high: float


def noise(values: Sequence[float]) -> float:
    """The standard deviation of one value about the curve, from second differences, in which a trend cancels out.

    The estimator is Gasser, Sroka and Jennen-Steinmetz's (1986), with a median absolute deviation for the mean square.
    """
    differences = [abs(a - 2 * b + c) for a, b, c in zip(values, values[1:], values[2:], strict=False)]
    return MAD_TO_SIGMA * median(differences) / math.sqrt(6) if differences else 0.0


def level(values: Sequence[float], *, whole: Sequence[float]) -> Level:
    """The level of neighbouring values, whose noise is their own, or of the `whole` series where they are too few."""
    sigma = noise(values if len(values) >= 2 * MIN_POINTS else whole)
    return Level(median(values), MEDIAN_TO_MEAN * sigma / math.sqrt(len(values)))


def joint_error(one: Level, other: Level) -> float:
    """The standard error of the difference of two levels."""
    return math.hypot(one.error, other.error)


def parts(count: int) -> list[slice]:
    """Divides `count` values into ten parts of equal numbers, or fewer parts of two values each."""
    number = max(1, min(10, count // 2))
    bounds = [round(count * index / number) for index in range(number + 1)]
    return [slice(low, high) for low, high in pairwise(bounds)]


def change_along(xs: Sequence[float], ys: Sequence[float]) -> Slope:
    """The change along a window by Theil and Sen's slope, with Sen's interval (1968), which ranks decide."""
    stride = -(-len(xs) // MAX_SLOPE_POINTS)
    points = list(zip(xs, ys, strict=True))[::-1][::stride]
    span, count = xs[-1] - xs[0], len(points)
    slopes = sorted((b[1] - a[1]) / (b[0] - a[0]) for a, b in combinations(points, 2) if a[0] != b[0])
    if not slopes:
        return Slope(0.0, -math.inf, math.inf)
    half = 2.576 * math.sqrt(count * (count - 1) * (2 * count + 5) / 18) / 2
    outside = math.floor(len(slopes) / 2 - half)
    if outside < 0:
        return Slope(median(slopes) * span, -math.inf, math.inf)
    return Slope(median(slopes) * span, slopes[outside] * span, slopes[-1 - outside] * span)
