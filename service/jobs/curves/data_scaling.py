"""What more training data would give, from jobs over shares of the data. Pure.

OpenAI's guide (`advice.py` cites it) tells how: "Fine-tuning on your current dataset; fine-tuning on half of your
current dataset; observing the quality gap between the two", since it expects "a similar amount of improvement every
time you double the number of training examples". Losses follow a power law of the number of examples n with a floor,
`loss = a + b * n ** -c` (Hestness et al., 2017, "Deep Learning Scaling is Predictable, Empirically"; for fine-tuning
Zhang et al., 2024, "When Scaling Meets LLM Finetuning"). With c near 0 each doubling gains the same, as the guide says.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise
from statistics import mean, variance
from typing import Literal, NamedTuple

import msgspec

from service.jobs.curves.findings import NO_CHANGE

EXPONENTS = (0.0, 0.2, 0.5)
"""The least, usual and greatest exponent that two sizes leave open: the guide's rule; the middle of the 0.07 to 0.35
that Hestness et al. measured; and the 0.5 of statistical theory that they compare with."""

GRID = tuple(step / 100 for step in range(101))
"""Exponents that are fitted to three sizes or more."""

CHANCE = 0.05
"""The standard deviation of a job's loss between seeds, as a share of it, that is assumed where no size was trained
with two seeds. Measured over five seeds: 0.03 with 100 examples and 0.06 with half of them (`examples/ticket-routing`),
and 0.15 with ten validation examples (`examples/ticket-classification`)."""

WITHIN_95 = 3.84
"""The 95 % quantile of chi square with one degree of freedom, by which the profile of a likelihood has an interval."""

Z_95 = 1.96


class ScalingPoint(NamedTuple):
    """The validation loss of one job that was trained on some examples. Several of the same number are seeds."""

    examples: int
    loss: float


class Range(msgspec.Struct, frozen=True, kw_only=True):
    """An estimate with the range in which it lies with 95 %, or for two sizes, by the exponents that are known."""

    value: float
    low: float
    high: float


class DataScaling(msgspec.Struct, frozen=True, kw_only=True):
    """The validation loss that twice the data would give. `loss` is null where the jobs do not support an estimate.

    `examples` is twice the largest number. `exponent` is c of `loss = a + b * examples ** -c`; null without a fit.
    """

    by: Literal["fit", "assumed_exponents"] | None
    examples: int
    loss: Range | None
    exponent: Range | None
    message: str


class _Size(NamedTuple):
    examples: int
    loss: float
    jobs: int


class _Fit(NamedTuple):
    exponent: float
    squares: float
    falls: bool
    predicted: float
    error: float


def estimate(points: Sequence[ScalingPoint]) -> DataScaling:
    """The loss at twice the largest number of examples, with its uncertainty, or why there is no estimate.

    The uncertainty is of chance between seeds, and of the law's shape: two or three sizes leave its exponent open.
    """
    usable = [each for each in points if each.examples > 0 and math.isfinite(each.loss)]
    sizes, sigma, repeated = _sizes(usable)
    twice = 2 * max((each.examples for each in sizes), default=0)
    refusal = _refusal(sizes, sigma, repeated)
    if refusal is not None:
        return _refused(twice, refusal)
    return _of_two(sizes, sigma, repeated) if len(sizes) == 2 else _of_more(sizes, sigma, repeated)


def _sizes(points: Sequence[ScalingPoint]) -> tuple[list[_Size], float, bool]:
    """The sizes in order, the standard deviation of one job's loss, and whether seeds measured it."""
    groups: dict[int, list[float]] = defaultdict(list)
    for each in points:
        groups[each.examples].append(each.loss)
    sizes = [_Size(examples, mean(groups[examples]), len(groups[examples])) for examples in sorted(groups)]
    degrees = sum(len(losses) - 1 for losses in groups.values())
    assumed = CHANCE * abs(sizes[-1].loss) if sizes else 0.0
    if degrees == 0:
        return sizes, assumed, False
    squares = sum(variance(losses) * (len(losses) - 1) for losses in groups.values() if len(losses) > 1)
    # One or two degrees of freedom can show almost no spread by luck: the assumption counts as two more.
    return sizes, math.sqrt((squares + 2 * assumed**2) / (degrees + 2)), True


def _refusal(sizes: list[_Size], sigma: float, repeated: bool) -> str | None:
    if len(sizes) < 2:
        return "More data cannot be estimated from one size: train on shares of the data too, such as half of it."
    first, last = sizes[0], sizes[-1]
    least = Z_95 * sigma * math.sqrt(1 / first.jobs + 1 / last.jobs) if repeated else NO_CHANGE * abs(last.loss)
    if first.loss - last.loss <= least:
        return (
            f"More data cannot be estimated: the validation loss is {first.loss:.3g} with {first.examples:,} examples "
            f"and {last.loss:.3g} with {last.examples:,}, which could be chance. More of the same may not help."
        )
    for fewer, more in pairwise(sizes):
        if more.loss - fewer.loss > max(least, Z_95 * sigma * math.sqrt(1 / fewer.jobs + 1 / more.jobs)):
            return (
                f"More data cannot be estimated: the validation loss rises from {fewer.loss:.3g} with "
                f"{fewer.examples:,} examples to {more.loss:.3g} with {more.examples:,}: it does not follow the data."
            )
    if last.loss < _steepest(first, last.examples) - Z_95 * sigma * math.sqrt(1 / first.jobs + 1 / last.jobs):
        return (
            f"More data cannot be estimated: the validation loss falls from {first.loss:.3g} with {first.examples:,} "
            f"examples to {last.loss:.3g} with {last.examples:,}, which is faster than any known law of the amount of "
            "data. Look for validation examples that are nearly equal to training examples."
        )
    return None


def _steepest(size: _Size, examples: int) -> float:
    """The loss at more examples by the greatest exponent and a floor of 0: no known law falls faster."""
    return size.loss * math.pow(examples / size.examples, -EXPONENTS[-1])


def _refused(examples: int, message: str) -> DataScaling:
    return DataScaling(by=None, examples=examples, loss=None, exponent=None, message=message)


def _of_two(sizes: list[_Size], sigma: float, repeated: bool) -> DataScaling:
    """A range by the exponents that are known, since two losses fit any exponent."""
    half, whole = sizes
    ratio, gap = whole.examples / half.examples, half.loss - whole.loss
    factors = [_next_gain(ratio, exponent) for exponent in EXPONENTS]
    chance = [_error(factor, half, whole, sigma) for factor in factors]
    values = [whole.loss - factor * gap for factor in factors]
    low = values[0] - Z_95 * chance[0]
    loss = Range(value=_shown(values[1]), low=_shown(low), high=_shown(values[2] + Z_95 * chance[2]))
    basis = "Two sizes leave the law open, so the range assumes exponents from 0 to 0.5; a third size would narrow it."
    message = f"{_sentence(loss, whole.loss)} {basis}{_of_chance(repeated)}"
    return DataScaling(by="assumed_exponents", examples=2 * whole.examples, loss=loss, exponent=None, message=message)


def _next_gain(ratio: float, exponent: float) -> float:
    """The gain of the next doubling, in units of the gap between sizes of this ratio."""
    if exponent == 0:
        return 1 / math.log2(ratio)
    return (1 - math.pow(2, -exponent)) / (math.pow(ratio, exponent) - 1)


def _error(factor: float, half: _Size, whole: _Size, sigma: float) -> float:
    return sigma * math.sqrt((1 + factor) ** 2 / whole.jobs + factor**2 / half.jobs)


def _of_more(sizes: list[_Size], sigma: float, repeated: bool) -> DataScaling:
    """A fit whose interval is that of all exponents which the losses admit (a profile likelihood).

    Three sizes fit three parameters and test none of them, so that all known exponents are admitted besides. With four
    sizes or more, what the fit leaves over counts as chance if it is more than the seeds show. A fall that accelerates
    follows no power law: the range then goes from its continuation to no improvement.
    """
    least = min(_fit(sizes, exponent, sigma).squares for exponent in GRID)
    if len(sizes) > 3:
        sigma = max(sigma, math.sqrt(least / (len(sizes) - 3)))
    fits = [fit for exponent in GRID if (fit := _fit(sizes, exponent, sigma)).falls]
    if not fits:
        return _refused(2 * sizes[-1].examples, "More data cannot be estimated: the losses follow no power law.")
    best = min(fits, key=lambda fit: fit.squares)
    known = EXPONENTS[-1] if len(sizes) == 3 else -1.0
    admitted = [fit for fit in fits if fit.squares - best.squares <= WITHIN_95 * sigma**2 or fit.exponent <= known]
    low = min(fit.predicted - Z_95 * fit.error for fit in admitted)
    high = max(fit.predicted + Z_95 * fit.error for fit in admitted)
    last = sizes[-1]
    accelerates = best.exponent == 0 and _gain(sizes[-2], last) > _gain(sizes[0], sizes[1])
    if accelerates:
        chance = Z_95 * sigma / math.sqrt(last.jobs)
        low = min(low, last.loss - _gain(sizes[-2], last) - chance)
        high = max(high, last.loss + chance)
    loss = Range(value=_shown(best.predicted), low=_shown(low), high=_shown(high))
    exponents = [fit.exponent for fit in admitted]
    exponent = Range(value=best.exponent, low=min(exponents), high=max(exponents))
    basis = f"A power law was fitted to {len(sizes)} sizes (exponent {exponent.low:g} to {exponent.high:g})."
    if accelerates:
        basis += " The fall accelerates, as no power law does, so the range goes up to no improvement."
    message = f"{_sentence(loss, last.loss)} {basis}{_of_chance(repeated)}"
    return DataScaling(by="fit", examples=2 * last.examples, loss=loss, exponent=exponent, message=message)


def _gain(fewer: _Size, more: _Size) -> float:
    """The fall of the loss between two sizes, by the doubling."""
    return (fewer.loss - more.loss) / math.log2(more.examples / fewer.examples)


def _fit(sizes: list[_Size], exponent: float, sigma: float) -> _Fit:
    """Weighted least squares of `a + b * x` for one exponent, where x is n ** -c, or -log n for c = 0."""
    largest = sizes[-1].examples

    def x_of(examples: int) -> float:
        share = examples / largest
        return math.exp(-exponent * math.log(share)) if exponent else -math.log(share)

    weights = [size.jobs for size in sizes]
    total = sum(weights)
    xs, ys = [x_of(size.examples) for size in sizes], [size.loss for size in sizes]
    middle_x = sum(w * x for w, x in zip(weights, xs, strict=True)) / total
    middle_y = sum(w * y for w, y in zip(weights, ys, strict=True)) / total
    spread = sum(w * (x - middle_x) ** 2 for w, x in zip(weights, xs, strict=True))
    slope = sum(w * (x - middle_x) * (y - middle_y) for w, x, y in zip(weights, xs, ys, strict=True)) / spread
    squares = sum(w * (y - middle_y - slope * (x - middle_x)) ** 2 for w, x, y in zip(weights, xs, ys, strict=True))
    target = x_of(2 * largest) - middle_x
    error = sigma * math.sqrt(1 / total + target**2 / spread)
    return _Fit(exponent, squares, slope > 0, middle_y + slope * target, error)


def _of_chance(repeated: bool) -> str:
    return (
        "" if repeated else f" Chance of {CHANCE:.0%} between seeds is assumed: train with seeds 1, 2, 3 to measure it."
    )


def _sentence(loss: Range, now: float) -> str:
    return (
        f"Twice the data would give a validation loss of {loss.value:.3g} ({loss.low:.3g} to {loss.high:.3g}), "
        f"from {now:.3g} now."
    )


def _shown(loss: float) -> float:
    """A loss is not negative; six digits, as scores are shown."""
    return round(max(loss, 0.0), 6)
