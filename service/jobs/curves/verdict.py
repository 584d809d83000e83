"""The verdict on a training curve: what it shows, in words, with the checkpoint to use and what to change."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Literal

import msgspec

from service.jobs.curves import advice
from service.jobs.curves.advice import Advice, Settings
from service.jobs.curves.curve import Curve, Series, non_finite_since, series
from service.jobs.curves.findings import CHANGE, NO_CHANGE, Fall, Rise, fall, is_falling, rise, rise_of_few
from service.jobs.curves.robust import MIN_POINTS, MIN_RUNNING, Z_CERTAIN, Z_RUNNING, Level, joint_error, level, parts

VerdictKind = Literal["converging", "still_falling", "over_fitted", "diverged", "too_noisy", "nothing_learnt"]

MIN_NON_FINITE = 3
"""Training losses in a row that are no finite numbers, until a job counts as diverged: one batch may overflow."""

NOTHING_BEFORE = 0.5
"""The share of a running job's steps before which it is not said to have learnt nothing: learning rates warm up."""

LN_2 = math.log(2)
"""The loss of DPO (Rafailov et al., 2023) before the first step: -log sigmoid(0), since the policy is the reference."""


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What a job's training curve shows.

    `step`: for `over_fitted` and `diverged`, the step since which; else null. `recommended_checkpoint`: the name of the
    checkpoint whose validation loss is lower than the final model's, if one exists. `advice` is for the next job.
    """

    kind: VerdictKind
    step: int | None
    recommended_checkpoint: str | None
    message: str
    advice: list[Advice]


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """What is known of the job besides its curve. `checkpoints` are the names of those that exist, by their steps."""

    method: str = "supervised"
    has_ended: bool
    settings: Settings = field(default_factory=Settings)
    checkpoints: Mapping[int, str] = field(default_factory=dict)


def verdict(curve: Curve, training: Training) -> Verdict | None:
    """The verdict on a curve; None while there is too little to say, and for methods without losses.

    In this order: it diverged, it over-fitted, it learnt nothing or its noise hides whether it did, its loss still
    falls, or it converged. An earlier one hides the later ones.
    """
    if training.method == "reinforcement":
        return None
    train, valid = series(curve, "train_loss"), series(curve, "valid_loss")
    full = series(curve, "full_valid_loss")
    z, enough = (Z_CERTAIN, MIN_POINTS) if training.has_ended else (Z_RUNNING, MIN_RUNNING)
    since = non_finite_since(curve)
    if since is not None and sum(each.step >= since for each in curve.steps) >= MIN_NON_FINITE:
        message = f"The training diverged: since step {since:,} its loss is no finite number."
        return _diverged(curve, training, since, message)
    if len(train) >= enough and (found := _divergence(train, training, z)) is not None:
        message = (
            f"The training diverged: its loss rose from {_figure(found.low)} at about step {found.step:,} to "
            f"{_figure(found.end)}."
        )
        return _diverged(curve, training, found.step, message)
    if (over := _over_fitting(valid if len(valid) >= enough else None, full, z)) is not None:
        return _over_fitted(curve, training, over, train)
    main = train if len(train) >= MIN_POINTS else valid
    if len(main) < MIN_POINTS:
        return None
    learnt = fall(main, _known_start(main, training))
    if not learnt.happened:
        return _without_fall(curve, training, learnt, validated=len(valid) + len(full) > 0)
    measured = len(valid) >= MIN_POINTS or len(full) >= 2
    if main is train and len(valid) >= MIN_POINTS and _does_not_generalise(valid, training):
        return _not_general(learnt, training, fall(valid, _known_start(valid, training)))
    decisive = full if len(full) >= 3 else valid if len(valid) >= MIN_POINTS else main
    # The whole file is first measured at the end of an epoch, when its loss has fallen already.
    start = _start(valid if decisive is full and len(valid) >= MIN_POINTS else decisive, training)
    name = "training" if decisive is train else "validation"
    if is_falling(decisive, start):
        return _still_falling(curve, training, decisive, start, name, validated=measured)
    return _converging(training, decisive, start, name, learnt, validated=measured)


def _start(values: Series, training: Training) -> float:
    enough = len(values) >= MIN_POINTS
    return fall(values, _known_start(values, training)).start if enough else values.values[0]


def _known_start(values: Series, training: Training) -> Level | None:
    """DPO's loss at the start is known, where the upstream reports that loss; its first values have fallen already."""
    first = median(values.values[:3])
    return Level(LN_2, 0.0) if training.method == "dpo" and LN_2 / 2 <= first <= 2 * LN_2 else None


def _divergence(train: Series, training: Training, z: float) -> Rise | None:
    """A rise of the training loss above its start, or by half of what it had fallen, beyond noise and by `CHANGE`."""
    values, divided = train.values, parts(len(train))
    levels = [level(values[each], whole=values) for each in divided]
    start = _known_start(train, training) or levels[0]
    index = min(range(len(levels)), key=lambda each: levels[each].value)
    low, end = levels[index], levels[-1]
    risen = end.value - low.value
    if risen <= max(z * joint_error(low, end), CHANGE * abs(start.value)):
        return None
    above = end.value - start.value > max(z * joint_error(start, end), NO_CHANGE * abs(start.value))
    if not above and risen < (start.value - low.value) / 2:
        return None
    return Rise(train.steps[(divided[index].start + divided[index].stop - 1) // 2], low.value, end.value)


def _over_fitting(valid: Series | None, full: Series, z: float) -> Rise | None:
    """A rise of the validation loss. The whole file decides where it was measured three times or more."""
    if len(full) >= MIN_POINTS:
        return rise(full, z) or rise_of_few(full)
    if len(full) >= 2 and (found := rise_of_few(full)) is not None:
        return found
    return rise(valid, z) if valid is not None and len(full) < 3 else None


def _does_not_generalise(valid: Series, training: Training) -> bool:
    """Whether validation losses, which were measured from the start, did not fall, and no fall can hide in noise."""
    from_start = valid.steps[0] <= valid.steps[-1] / 50
    found = fall(valid, _known_start(valid, training))
    return from_start and not found.happened and not found.hidden


def _diverged(curve: Curve, training: Training, step: int, message: str) -> Verdict:
    best = _best_checkpoint(curve, training)
    return Verdict(
        kind="diverged",
        step=step,
        recommended_checkpoint=best,
        message=message + _use(best, training),
        advice=advice.after_diverging(training.settings),
    )


def _over_fitted(curve: Curve, training: Training, over: Rise, train: Series) -> Verdict:
    best = _best_checkpoint(curve, training)
    falls = len(train) >= MIN_POINTS and fall(train).happened
    while_falling = " while the training loss fell on" if falls else ""
    message = (
        f"The model over-fitted since about step {over.step:,}: its validation loss rose from {_figure(over.low)} to "
        f"{_figure(over.end)}{while_falling}."
    )
    share = over.step / (curve.total_steps or max(curve.last_step, 1))
    return Verdict(
        kind="over_fitted",
        step=over.step,
        recommended_checkpoint=best,
        message=message + _use(best, training),
        advice=advice.after_over_fitting(training.settings, best_share=min(share, 1.0)),
    )


def _without_fall(curve: Curve, training: Training, found: Fall, *, validated: bool) -> Verdict | None:
    progress = curve.last_step / curve.total_steps if curve.total_steps else 0.0
    if not training.has_ended and progress < NOTHING_BEFORE:
        return None
    if found.hidden:
        message = (
            f"The loss is too noisy for a verdict: a change by {CHANGE:.0%} from its start of {_figure(found.start)} "
            "could hide in it."
        )
        how = advice.after_noise(training.settings, validated=validated)
        return Verdict(kind="too_noisy", step=None, recommended_checkpoint=None, message=message, advice=how)
    message = f"The model has learnt nothing: its loss stays at {_figure(found.end)}."
    how = advice.after_learning_nothing(training.settings, generalises=True)
    return Verdict(kind="nothing_learnt", step=None, recommended_checkpoint=None, message=message, advice=how)


def _not_general(learnt: Fall, training: Training, found: Fall) -> Verdict | None:
    message = (
        f"The model has learnt nothing that carries over: its training loss fell from {_figure(learnt.start)} to "
        f"{_figure(learnt.end)}, and its validation loss stays at {_figure(found.end)}."
    )
    how = advice.after_learning_nothing(training.settings, generalises=False)
    return Verdict(kind="nothing_learnt", step=None, recommended_checkpoint=None, message=message, advice=how)


def _still_falling(
    curve: Curve, training: Training, decisive: Series, start: float, name: str, *, validated: bool
) -> Verdict:
    verb = "was still falling when it ended" if training.has_ended else f"is still falling at step {curve.last_step:,}"
    message = f"The {name} loss {verb}: from {_figure(start)} at the start to {_figure(_end(decisive))}."
    how = advice.after_still_falling(training.settings, validated=validated) if training.has_ended else []
    return Verdict(kind="still_falling", step=None, recommended_checkpoint=None, message=message, advice=how)


def _converging(
    training: Training, decisive: Series, start: float, name: str, learnt: Fall, *, validated: bool
) -> Verdict:
    end = _end(decisive)
    message = f"The {name} loss fell from {_figure(start)} to {_figure(end)} and shows no further fall."
    if start - end < NO_CHANGE * abs(start):
        message = (
            f"The training loss fell from {_figure(learnt.start)} to {_figure(learnt.end)}; the {name} loss shows no "
            f"fall since it was first measured, and is {_figure(end)}."
        )
    if not validated:
        message += " Whether the model over-fitted cannot be said without validation losses."
    how = advice.after_converging(training.settings, validated=validated)
    return Verdict(kind="converging", step=None, recommended_checkpoint=None, message=message, advice=how)


def _end(values: Series) -> float:
    return median(values.values[-max(1, len(values) // 10) :])


def _best_checkpoint(curve: Curve, training: Training) -> str | None:
    """The checkpoint with the lowest loss, if that is lower than the loss at the end by `NO_CHANGE`.

    Of the validation losses that of the whole file counts, if it was measured at a checkpoint; else a batch's, and else
    the training loss, each as the median of the five values nearest to the checkpoint.
    """
    for measure in ("full_valid_loss", "valid_loss", "train_loss"):
        values = series(curve, measure)
        if not values or not training.checkpoints or (measure == "full_valid_loss" and len(values) < 2):
            continue
        width = 1 if measure == "full_valid_loss" else 5
        losses = {step: _near(values, step, width) for step in sorted(training.checkpoints)}
        best = min(losses, key=lambda step: losses[step])
        end = values.values[-1] if width == 1 else _end(values)
        return training.checkpoints[best] if end - losses[best] >= NO_CHANGE * abs(losses[best]) else None
    return None


def _near(values: Series, step: int, width: int) -> float:
    nearest = sorted(range(len(values)), key=lambda index: (abs(values.steps[index] - step), index))[:width]
    return median(values.values[index] for index in nearest)


def _use(checkpoint: str | None, training: Training) -> str:
    if checkpoint is not None:
        return f" Use the checkpoint {checkpoint}."
    return "" if training.has_ended else " Cancel it, unless you want to see it through."


def _figure(loss: float) -> str:
    return f"{loss:.3g}"
