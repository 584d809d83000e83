"""Exact statistics of many small integers. Memory is bounded by storing how often each value occurs."""

from __future__ import annotations

from collections import Counter

from service.datasets.report_schema import Bucket, Distribution, Spread

BUCKETS = 12


def distribution(values: Counter[int]) -> Distribution:
    """The minimum, maximum, mean, median, and 5th and 95th percentiles of a multiset; all zero for an empty one."""
    count = values.total()
    if not count:
        return Distribution(min=0, max=0, mean=0.0, median=0.0, p5=0.0, p95=0.0)
    mean = sum(value * times for value, times in values.items()) / count
    p5, median, p95 = quantiles(values, (0.05, 0.5, 0.95))
    return Distribution(
        min=min(values), max=max(values), mean=round(mean, 2), median=median, p5=round(p5, 2), p95=round(p95, 2)
    )


def cookbook_distribution(values: Counter[int]) -> Spread:
    """The four figures that OpenAI's cookbook prints: minimum, maximum, mean and median."""
    full = distribution(values)
    return Spread(min=full.min, max=full.max, mean=full.mean, median=full.median)


def quantiles(values: Counter[int], shares: tuple[float, ...]) -> list[float]:
    """Quantiles with linear interpolation between ranks, like numpy's default. `values` must not be empty."""
    last = values.total() - 1
    ranked = sorted(values.items())
    results: list[float] = []
    for share in shares:
        rank = share * last
        low = int(rank)
        lower, upper = _at_rank(ranked, low), _at_rank(ranked, min(low + 1, last))
        results.append(lower + (upper - lower) * (rank - low))
    return results


def histogram(values: Counter[int], buckets: int = BUCKETS) -> list[Bucket]:
    """At most `buckets` buckets of equal width that cover all values from the minimum to the maximum."""
    if not values:
        return []
    minimum, maximum = min(values), max(values)
    width = max(1, -(-(maximum - minimum + 1) // buckets))
    counts = [0] * (-(-(maximum - minimum + 1) // width))
    for value, times in values.items():
        counts[(value - minimum) // width] += times
    return [
        Bucket(start=minimum + index * width, end=min(minimum + (index + 1) * width, maximum + 1), count=count)
        for index, count in enumerate(counts)
    ]


def _at_rank(ranked: list[tuple[int, int]], rank: int) -> int:
    for value, times in ranked:
        if rank < times:
            return value
        rank -= times
    raise IndexError(rank)
