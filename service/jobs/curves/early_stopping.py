"""When an arm of an experiment is stopped early: by the median of the arms, or by successive halving. Pure.

Both compare validation losses at the same share of each arm's own training: learning rates fall to zero over that, so
the same step of a shorter job is not comparable. An arm whose validation loss is not known at a share is neither
compared nor stopped there. Arms over shares of the data must not be compared so: the smaller ones are worse by design.

Ray Tune's `MedianStoppingRule` and Optuna's `MedianPruner` (after Vizier: Golovin et al., 2017) stop an arm that is
worse than the median of the others; Ray's has a grace period and a minimum of three arms, as here. Ray's ASHA (Li et
al., 2018) stops an arm that is outside the best 1/r of those that came before it, so that chance of order decides. Here
the number of arms is known, so an arm stops once as many others are better as successive halving continues (Jamieson
and Talwalkar, 2016): the result does not depend on their order.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Annotated, assert_never

import msgspec

from service.http.wire_types import RequestModel
from service.jobs.curves.curve import Curve, non_finite_since, series
from service.jobs.curves.findings import NO_CHANGE
from service.jobs.curves.robust import MIN_POINTS, Z_CERTAIN, Level, joint_error, level
from service.jobs.curves.verdict import MIN_NON_FINITE

WINDOW = 0.1
"""The share of a training whose validation losses before a point of comparison count for it."""


class MedianStopping(RequestModel, frozen=True, kw_only=True, tag_field="rule", tag="median"):
    """Stops an arm whose validation loss is above the median of the other arms at the same share of its training.

    It compares after each tenth of the training, from the share `after`, with at least `min_arms` others.
    """

    after: Annotated[float, msgspec.Meta(ge=0.1, le=0.9)] = 0.3
    min_arms: Annotated[int, msgspec.Meta(ge=1, le=100)] = 3


class HalvingStopping(RequestModel, frozen=True, kw_only=True, tag_field="rule", tag="successive_halving"):
    """Continues the best 1/`reduction_factor` of the arms after the share `after`, and so on after each
    `reduction_factor` times that share."""

    reduction_factor: Annotated[int, msgspec.Meta(ge=2, le=10)] = 3
    after: Annotated[float, msgspec.Meta(ge=0.05, le=0.9)] = 0.2


EarlyStopping = MedianStopping | HalvingStopping


def explain(rule: EarlyStopping) -> str:
    """The rule in one or two sentences, for a quote and a result."""
    match rule:
        case MedianStopping():
            return (
                f"From {rule.after:.0%} of its training an arm is stopped if its validation loss is above the median "
                f"of the other arms at the same share, of {rule.min_arms} at least, beyond its noise."
            )
        case HalvingStopping():
            shares = ", ".join(f"{share:.0%}" for share in _levels(rule))
            return (
                f"After {shares} of the training the best 1/{rule.reduction_factor} of the arms by validation loss "
                "continue, and those that cannot be distinguished from them; the others are stopped."
            )
        case _:
            assert_never(rule)


def stop_reason(rule: EarlyStopping, own: Curve, others: Sequence[Curve], *, arms: int) -> str | None:
    """Why an arm that runs is stopped now, in a sentence; None if it continues.

    `others` are the curves of the experiment's other arms, those that have ended or were stopped included; `arms` is
    the number of all arms, those that have not begun included. An arm whose training loss is no finite number is
    stopped by either rule. The result depends on nothing but these arguments, and not on the order of `others`.
    """
    since = non_finite_since(own)
    if since is not None and sum(each.step >= since for each in own.steps) >= MIN_NON_FINITE:
        return f"Since step {since:,} its training loss is no finite number."
    match rule:
        case MedianStopping():
            return _by_median(rule, own, others)
        case HalvingStopping():
            return _by_halving(rule, own, others, arms)
        case _:
            assert_never(rule)


def _by_median(rule: MedianStopping, own: Curve, others: Sequence[Curve]) -> str | None:
    tenths = [tenth for tenth in range(1, 10) if tenth >= rule.after * 10 - 1e-9 and _reached(own, tenth / 10)]
    if not tenths:
        return None
    share = tenths[-1] / 10
    mine = loss_at(own, share)
    theirs = [loss for each in others if (loss := loss_at(each, share)) is not None]
    if mine is None or len(theirs) < rule.min_arms:
        return None
    middle = Level(median(each.value for each in theirs), median(each.error for each in theirs))
    if not _is_worse(mine, middle):
        return None
    return (
        f"At {share:.0%} of its training its validation loss is {mine.value:.3g}, above the median of the other "
        f"{_arms(len(theirs))} there, {middle.value:.3g}."
    )


def _by_halving(rule: HalvingStopping, own: Curve, others: Sequence[Curve], arms: int) -> str | None:
    continued = arms
    for share in _levels(rule):
        continued = max(1, -(-continued // rule.reduction_factor))
        if not _reached(own, share) or (mine := loss_at(own, share)) is None:
            continue
        theirs = [loss for each in others if (loss := loss_at(each, share)) is not None]
        better = sorted(each.value for each in theirs if _is_worse(mine, each))
        if len(better) >= continued:
            return (
                f"At {share:.0%} of its training its validation loss is {mine.value:.3g}; {len(better)} of "
                f"{_arms(arms)} had a lower one there (from {better[0]:.3g}), and {continued} of {arms} continue."
            )
    return None


def loss_at(curve: Curve, share: float) -> Level | None:
    """An arm's validation loss when a share of its training was done; None if it was not measured shortly before.

    The whole file's loss counts where there is one, else the median of the batches' in the last tenth.
    """
    if not _reached(curve, share) or curve.total_steps is None:
        return None
    step, first = share * curve.total_steps, (share - WINDOW) * curve.total_steps
    full = series(curve, "full_valid_loss").until(step)
    if full and full.steps[-1] >= first:
        return Level(full.values[-1], 0.0)
    valid = series(curve, "valid_loss").until(step)
    if len(valid) < MIN_POINTS:
        return None
    recent = [value for at, value in zip(valid.steps, valid.values, strict=True) if at >= first]
    return level(recent, whole=valid.values) if len(recent) >= 3 else None


def _levels(rule: HalvingStopping) -> list[float]:
    shares, share = [], rule.after
    while share < 1:
        shares.append(share)
        share *= rule.reduction_factor
    return shares


def _reached(curve: Curve, share: float) -> bool:
    return curve.total_steps is not None and curve.last_step >= share * curve.total_steps


def _is_worse(one: Level, other: Level) -> bool:
    """Whether a loss is above another beyond their noise, and by `NO_CHANGE`."""
    return one.value - other.value > max(Z_CERTAIN * joint_error(one, other), NO_CHANGE * abs(other.value))


def _arms(count: int) -> str:
    return "1 arm" if count == 1 else f"{count} arms"
