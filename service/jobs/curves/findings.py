"""What a training curve shows: whether a loss fell, rose again, or falls still, each beyond its noise."""

from __future__ import annotations

import math
from typing import NamedTuple

from service.jobs.curves.curve import Series
from service.jobs.curves.robust import (
    MIN_POINTS,
    Z_95,
    Z_CERTAIN,
    Level,
    change_along,
    joint_error,
    level,
    parts,
)

NO_CHANGE = 0.02
"""A change by less than this share of a loss counts as none: between the thresholds of 1 % and 3 % of generalisation
loss by which Prechelt (1998, "Early Stopping - But When?", GL) stopped early."""

CHANGE = 0.05
"""A change by this share is one that a verdict must not miss: Prechelt's slowest threshold, GL_5. While noise could
hide it, a curve is too noisy."""


class Fall(NamedTuple):
    """How a loss fell: its level at the start and at the end, and whether the noise allows a statement."""

    start: float
    end: float
    certain: bool
    hidden: bool

    @property
    def happened(self) -> bool:
        return self.certain and self.start - self.end >= NO_CHANGE * abs(self.start)


class Rise(NamedTuple):
    """A rise at the end: the lowest level, the step at its middle, and the level at the end."""

    step: int
    low: float
    end: float


def fall(series: Series, start: Level | None = None) -> Fall:
    """How far a loss fell. `start` replaces the first values where the loss at the start is known.

    The end is the last third. The start is the highest of the first tenth, the first fiftieth, the first three values
    and the first one that lies above the end beyond doubt: many curves fall within a few steps and are level then.
    `hidden`: the halves of the run might differ by `CHANGE` without that showing.
    """
    values = series.values
    count = len(values)
    end = level(values[-max(3, count // 3) :], whole=values)
    begins = [level(values[:first], whole=values) for first in (max(3, count // 10), max(3, count // 50), 3, 1)]
    begins = [start] if start is not None else begins
    certain = [each for each in begins if each.value - end.value > Z_CERTAIN * joint_error(each, end)]
    first = max(certain, key=lambda each: each.value) if certain else begins[0]
    halves = start or level(values[: count // 2], whole=values), level(values[count // 2 :], whole=values)
    most = halves[0].value - halves[1].value + Z_95 * joint_error(*halves)
    return Fall(first.value, end.value, bool(certain), most >= CHANGE * abs(first.value))


def rise(series: Series, z: float = Z_CERTAIN) -> Rise | None:
    """A rise from the lowest part to the last tenth, or to the last three tenths, beyond noise and by `NO_CHANGE`."""
    values, divided = series.values, parts(len(series))
    if len(divided) < 3:
        return None
    levels = [level(values[each], whole=values) for each in divided]
    lowest = min(range(len(levels)), key=lambda index: levels[index].value)
    step = series.steps[(divided[lowest].start + divided[lowest].stop - 1) // 2]
    pairs = [(levels[lowest], levels[-1])]
    if 0 < lowest <= len(levels) - 5:
        around = values[divided[lowest - 1].start : divided[lowest + 1].stop]
        pairs.append((level(around, whole=values), level(values[divided[-3].start :], whole=values)))
    for low, end in pairs:
        if end.value - low.value > max(z * joint_error(low, end), NO_CHANGE * abs(low.value)):
            return Rise(step, low.value, end.value)
    return None


def rise_of_few(series: Series) -> Rise | None:
    """A rise among a few measurements of the whole validation file, which have no noise of batches.

    Prechelt's criteria: the last loss is above the lowest by `CHANGE` (GL_5), or by `NO_CHANGE` after two rises in a
    row (UP_2).
    """
    values = series.values
    lowest = min(range(len(values)), key=lambda index: values[index])
    loss = values[-1] - values[lowest]
    twice = len(values) >= 3 and values[-1] > values[-2] > values[-3]
    if loss >= CHANGE * abs(values[lowest]) > 0 or (twice and loss >= NO_CHANGE * abs(values[lowest]) > 0):
        return Rise(series.steps[lowest], values[lowest], values[-1])
    return None


def is_falling(series: Series, start: float) -> bool:
    """Whether a loss falls beyond doubt (99 %) along the last half, and by `NO_CHANGE` of its start in the last third.

    A few measurements of the whole validation file have no noise of batches: there the last change decides.
    """
    if len(series) < MIN_POINTS:
        return len(series) >= 2 and series.values[-2] - series.values[-1] >= NO_CHANGE * abs(start)
    third, half = (max(6, math.ceil(len(series) / share)) for share in (3, 2))
    change = change_along(series.steps[-third:], series.values[-third:]).change
    return -change >= NO_CHANGE * abs(start) and change_along(series.steps[-half:], series.values[-half:]).high < 0
