"""Which arm of an experiment is best, by its scores or its validation loss, and of equals the cheaper one. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec

from service.billing.prices import dollar_text
from service.jobs.curves.findings import NO_CHANGE
from service.runs.comparisons.statistics import Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmResult:
    """The figures of an arm whose job has succeeded; None for what was not measured.

    `score` is that of its model in the experiment's comparison, with its interval.
    """

    arm: int
    valid_loss: float | None
    cost_micros: int
    score: Estimate | None = None


class Recommendation(msgspec.Struct, frozen=True, kw_only=True):
    """The recommended arm. `tied` are the arms that cannot be distinguished from it by the figure that decided."""

    arm: int
    by: Literal["score", "valid_loss"]
    tied: list[int]
    reason: str


def recommend(arms: Sequence[ArmResult]) -> Recommendation | None:
    """The best arm, or None if no arm has a figure to decide by.

    Scores decide if two arms have one, or the only arm: they measure the task itself. Two scores differ if their
    difference exceeds the root of the sum of their squared half intervals; scores of the same cases are correlated, so
    this rather finds a tie. Validation losses differ by 2 % or more, since nothing tells chance of a single job.
    """
    scored = [each for each in arms if each.score is not None and each.score.value is not None]
    if len(scored) >= 2 or (scored and len(arms) == 1):
        return _choose(scored, "score", _score, _scores_tie)
    measured = [each for each in arms if each.valid_loss is not None and math.isfinite(each.valid_loss)]
    return _choose(measured, "valid_loss", _negative_loss, _losses_tie) if measured else None


def _choose(
    arms: Sequence[ArmResult],
    by: Literal["score", "valid_loss"],
    merit: Callable[[ArmResult], float],
    tie: Callable[[ArmResult, ArmResult], bool],
) -> Recommendation:
    best = min(arms, key=lambda each: (-merit(each), each.cost_micros, each.arm))
    equals = [each for each in arms if each is best or tie(best, each)]
    chosen = min(equals, key=lambda each: (each.cost_micros, -merit(each), each.arm))
    tied = sorted(each.arm for each in equals if each is not chosen)
    name, figure = "score" if by == "score" else "validation loss", _figure(chosen, by)
    if not tied:
        reason = f"Arm {chosen.arm} is the only one with a figure to decide by: its {name} of {figure}."
        if len(arms) > 1:
            second = max((each for each in arms if each is not chosen), key=merit)
            extreme = "highest" if by == "score" else "lowest"
            reason = (
                f"Arm {chosen.arm} has the {extreme} {name} of the {len(arms)} arms, {figure}; the next has "
                f"{_figure(second, by)}."
            )
        return Recommendation(arm=chosen.arm, by=by, tied=[], reason=reason)
    names = f"Arm {tied[0]} is" if len(tied) == 1 else f"Arms {', '.join(map(str, tied))} are"
    measure = "by the intervals of the scores" if by == "score" else f"by validation losses {NO_CHANGE:.0%} apart"
    costs = {each.cost_micros for each in equals}
    why = "it is the cheapest of them" if len(costs) > 1 else "all cost the same, and it has the best figure"
    reason = (
        f"Arm {chosen.arm} has a {name} of {figure} and cost {dollar_text(chosen.cost_micros)}. {names} not "
        f"distinguishable from it {measure}; {why}."
    )
    return Recommendation(arm=chosen.arm, by=by, tied=tied, reason=reason)


def _figure(arm: ArmResult, by: Literal["score", "valid_loss"]) -> str:
    if by == "valid_loss":
        return f"{arm.valid_loss:.3g}"
    score = arm.score
    assert score is not None
    interval = f" ({score.low:.2f} to {score.high:.2f})" if score.low is not None and score.high is not None else ""
    return f"{score.value:.2f}{interval}"


def _score(arm: ArmResult) -> float:
    assert arm.score is not None
    assert arm.score.value is not None
    return arm.score.value


def _negative_loss(arm: ArmResult) -> float:
    assert arm.valid_loss is not None
    return -arm.valid_loss


def _scores_tie(best: ArmResult, other: ArmResult) -> bool:
    return _score(best) - _score(other) <= math.hypot(_half_interval(best), _half_interval(other))


def _half_interval(arm: ArmResult) -> float:
    """Half the width of a score's interval; unlimited for a single case, which has none."""
    score = arm.score
    if score is None or score.low is None or score.high is None:
        return math.inf
    return (score.high - score.low) / 2


def _losses_tie(best: ArmResult, other: ArmResult) -> bool:
    return _negative_loss(best) - _negative_loss(other) < NO_CHANGE * abs(_negative_loss(best))
