"""Exact statistics of many small integers in little memory: what is kept is how often each value came."""

from __future__ import annotations

from collections import Counter

from service.datasets.report_schema import Bucket, Distribution, Spread

BUCKETS = 12


def distribution(values: Counter[int]) -> Distribution:
    """Minimum to 95th percentile of a multiset; all zero for an empty one."""
    count = values.total()
    if not count:
        return Distribution(min=0, max=0, mean=0.0, median=0.0, p5=0.0, p95=0.0)
    mean = sum(value * times for value, times in values.items()) / count
    p5, median, p95 = quantiles(values, (0.05, 0.5, 0.95))
    return Distribution(
        min=min(values), max=max(values), mean=round(mean, 2), median=median, p5=round(p5, 2), p95=round(p95, 2)
    )


def cookbook_distribution(values: Counter[int]) -> Spread:
    """The four figures of the cookbook."""
    full = distribution(values)
    return Spread(min=full.min, max=full.max, mean=full.mean, median=full.median)


def quantiles(values: Counter[int], shares: tuple[float, ...]) -> list[float]:
    """Quantiles with linear interpolation between ranks, as numpy's default; `shares` ascending, `values` not empty."""
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
    """At most `buckets` buckets of equal width from the least value to the greatest; counts sum to all values."""
    if not values:
        return []
    least, greatest = min(values), max(values)
    width = max(1, -(-(greatest - least + 1) // buckets))
    counts = [0] * (-(-(greatest - least + 1) // width))
    for value, times in values.items():
        counts[(value - least) // width] += times
    return [
        Bucket(start=least + index * width, end=min(least + (index + 1) * width, greatest + 1), count=count)
        for index, count in enumerate(counts)
    ]


def _at_rank(ranked: list[tuple[int, int]], rank: int) -> int:
    for value, times in ranked:
        if rank < times:
            return value
        rank -= times
    raise IndexError(rank)
