"""A job's training curve, and its three losses as series without gaps."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

Measure = Literal["train_loss", "valid_loss", "full_valid_loss"]

MEASURES: tuple[Measure, ...] = get_args(Measure)

MAX_POINTS = 1_000
"""Points of a series that are read; of a longer one every k-th is used. More change a median of a tenth of the run (100
points) by less than an eighth of the noise of one point, and 1,000 are computed in some ten milliseconds."""


class StepLosses(NamedTuple):
    """The losses of one training step; None where the upstream reported none, and NaN where it is no finite number.

    Upstreams report `valid_loss` (a batch of the validation file) at some steps, `full_valid_loss` (the whole file) at
    the ends of epochs.
    """

    step: int
    train_loss: float | None = None
    valid_loss: float | None = None
    full_valid_loss: float | None = None


@dataclass(frozen=True, slots=True)
class Curve:
    """The steps of a job that were reported, and how many it has in all, if that is known."""

    steps: Sequence[StepLosses]
    total_steps: int | None = None

    @property
    def last_step(self) -> int:
        return max((each.step for each in self.steps), default=0)


class Series(NamedTuple):
    """One loss over the steps at which it was reported, in their order."""

    steps: list[int]
    values: list[float]

    def __len__(self) -> int:
        return len(self.values)

    def until(self, step: float) -> "Series":
        """The part of the series up to and with a step."""
        count = sum(each <= step for each in self.steps)
        return Series(self.steps[:count], self.values[:count])


def series(curve: Curve, measure: Measure) -> Series:
    """The finite values of a loss in the order of their steps, at most `MAX_POINTS`, always with the last one."""
    found = [(each.step, value) for each in curve.steps if (value := getattr(each, measure)) is not None]
    points = thinned(sorted((step, value) for step, value in found if math.isfinite(value)))
    return Series([step for step, _ in points], [value for _, value in points])


def thinned(points: list[tuple[int, float]]) -> list[tuple[int, float]]:
    """Every k-th of the points, counted from the last one."""
    stride = -(-len(points) // MAX_POINTS)
    return points[::-1][::stride][::-1] if stride > 1 else points


def non_finite_since(curve: Curve) -> int | None:
    """The step from which every reported training loss is NaN or infinite; None if the last one is a number."""
    reported = sorted((each.step, each.train_loss) for each in curve.steps if each.train_loss is not None)
    since = None
    for step, loss in reversed(reported):
        if math.isfinite(loss):
            break
        since = step
    return since
