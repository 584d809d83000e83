"""A job's losses in summary: the last and the lowest ones, with their steps. Pure.

A running job's summary grows with the steps that each poll finds, so that it does not read all of them again. A step
that is reported again with another loss can leave a lowest one that no step has any more: when the job ends, its
summary is made of all stored steps (`workers/jobs/figures.py`).
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple


class Loss(NamedTuple):
    """The loss of the last step that has one, and the lowest loss with the first step that has it."""

    final: float
    final_step: int
    best: float
    best_step: int


class Losses(NamedTuple):
    """The losses of a job. `valid_is_full`: those of `valid` are of the whole validation file.

    An upstream reports the loss of a batch of the validation file with many steps, and that of the whole file with few.
    The two are not comparable, so that once there is a loss of the whole file, only those count.
    """

    train: Loss | None
    valid: Loss | None
    valid_is_full: bool


def losses_of(row: Any) -> Losses:
    """The losses that a job's row has; `row` has the columns of `columns_of` as attributes."""
    train = (row.train_loss, row.train_loss_step, row.best_train_loss, row.best_train_loss_step)
    valid = (row.valid_loss, row.valid_loss_step, row.best_valid_loss, row.best_valid_loss_step)
    return Losses(
        train=None if None in train else Loss(*train),
        valid=None if None in valid else Loss(*valid),
        valid_is_full=row.valid_loss_is_full,
    )


def columns_of(losses: Losses) -> dict[str, Any]:
    """The losses as columns of a job's row."""
    values: dict[str, Any] = {"valid_loss_is_full": losses.valid_is_full}
    for name, loss in (("train_loss", losses.train), ("valid_loss", losses.valid)):
        final, final_step, best, best_step = loss or (None,) * 4
        values |= {name: final, f"{name}_step": final_step, f"best_{name}": best, f"best_{name}_step": best_step}
    return values


def with_steps(losses: Losses, steps: Iterable[tuple[int, Mapping[str, float | None]]]) -> Losses:
    """The losses with those of more steps, in any order: their numbers and metrics, null where none was reported."""
    train, valid, is_full = losses
    for step, metrics in steps:
        train = _with(train, step, metrics.get("train_loss"))
        full = metrics.get("full_valid_loss")
        if full is not None and not is_full:
            valid, is_full = None, True
        valid = _with(valid, step, full if is_full else metrics.get("valid_loss"))
    return Losses(train, valid, is_full)


def _with(loss: Loss | None, step: int, value: float | None) -> Loss | None:
    if value is None:
        return loss
    if loss is None:
        return Loss(value, step, value, step)
    final = (value, step) if step >= loss.final_step else (loss.final, loss.final_step)
    best, best_step = min((loss.best, loss.best_step), (value, step))
    return Loss(*final, best, best_step)
