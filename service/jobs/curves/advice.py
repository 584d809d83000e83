"""What to change after a verdict: OpenAI's advice, with the job's own figures.

The guide (OpenAI, "Fine-tuning best practices", developers.openai.com/api/docs/guides/fine-tuning-best-practices, read
in November 2026) says under "Iterating on hyperparameters":

    If the model doesn't follow the training data as much as expected, increase the number of epochs by 1 or 2.
    If the model becomes less diverse than expected, decrease the number of epochs by 1 or 2.
    If the model doesn't appear to be converging, increase the learning rate multiplier.

and under "Iterating on data quantity":

    We expect a similar amount of improvement every time you double the number of training examples.
    [...] a smaller amount of high-quality data is generally more effective than a larger amount of low-quality data.

and under "Iterating on data quality":

    Make sure your training examples contain all of the information needed for the response.
    Make sure all of your training examples are in the same format, as expected for inference.

OpenAI's API reference adds that "a smaller learning rate may be useful to avoid overfitting" and that a larger batch
size has "lower variance". The guide gives no step for a learning rate or a batch size: both are doubled or halved here,
since they are searched on a logarithmic scale (Bengio, 2012, "Practical recommendations for gradient-based training").
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec

MAX_EPOCHS = 50
MAX_BATCH_SIZE = 256

Setting = Literal["n_epochs", "learning_rate_multiplier", "batch_size", "training_file", "validation_file"]


class Advice(msgspec.Struct, frozen=True, kw_only=True):
    """One setting of the next job, its change in words (`from 3 to 4 or 5`), and why."""

    setting: Setting
    change: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """A job's settings that advice refers to; None for what the upstream chose or what is not known."""

    n_epochs: int | None = None
    learning_rate_multiplier: float | None = None
    batch_size: int | None = None
    examples: int | None = None


def after_converging(settings: Settings, *, validated: bool) -> list[Advice]:
    """More data for a better model; without validation losses, a validation file first."""
    return (
        [_more_data(settings, "The loss no longer falls, so more epochs would give little.")]
        if validated
        else [VALIDATE]
    )


def after_still_falling(settings: Settings, *, validated: bool) -> list[Advice]:
    """One or two epochs more, or a higher learning rate."""
    advice = [] if validated else [VALIDATE]
    epochs = settings.n_epochs
    if epochs is not None and epochs < MAX_EPOCHS:
        reason = "The loss was still falling when the training ended: the model does not follow the data fully yet."
        advice.append(Advice(setting="n_epochs", change=_from_to(epochs, epochs + 1, epochs + 2), reason=reason))
    reason = "The loss had not converged by the end; larger steps reach the same loss sooner."
    return [*advice, _rate(settings, 2.0, reason)]


def after_over_fitting(settings: Settings, *, best_share: float) -> list[Advice]:
    """Fewer epochs, a lower learning rate where there is one epoch only, and more data.

    `best_share` is the share of the training after which the validation loss was lowest. Where that is more than two
    epochs before the end, the epochs end there, instead of one or two earlier.
    """
    advice = []
    epochs = settings.n_epochs
    if epochs is not None and epochs > 1:
        best = max(1, math.ceil(epochs * best_share))
        fewer = (epochs - 1, epochs - 2) if epochs - best <= 2 else (best,)
        reason = f"The validation loss was lowest in epoch {best}; every later epoch made the model less general."
        advice.append(Advice(setting="n_epochs", change=_from_to(epochs, *fewer), reason=reason))
    else:
        advice.append(_rate(settings, 0.5, "A smaller learning rate may avoid over-fitting."))
    return [*advice, _more_data(settings, "A model over-fits later the more examples it has.")]


def after_diverging(settings: Settings) -> list[Advice]:
    """A lower learning rate."""
    return [_rate(settings, 0.5, "The loss rose again while it trained: the steps were too large.")]


def after_noise(settings: Settings, *, validated: bool) -> list[Advice]:
    """Larger batches, or a validation file."""
    size = settings.batch_size
    change = f"from {size} to {min(2 * size, MAX_BATCH_SIZE)}" if size else "twice what the upstream chose"
    advice = (
        []
        if size is not None and size >= MAX_BATCH_SIZE
        else [
            Advice(setting="batch_size", change=change, reason="A batch of more examples has a loss with less noise.")
        ]
    )
    return advice if validated else [*advice, VALIDATE]


def after_learning_nothing(settings: Settings, *, generalises: bool) -> list[Advice]:
    """A higher learning rate, or data that has what the responses need, in one format."""
    if not generalises:
        reason = (
            "The training loss fell and the validation loss did not: check that both files have the same format and "
            "task, and that the training examples contain all of the information needed for the response."
        )
        return [Advice(setting="training_file", change="examples like those of the validation file", reason=reason)]
    reason = (
        "Check that the examples contain all of the information needed for the response; if the model answers them "
        "already, it has nothing to learn from them."
    )
    quality = Advice(setting="training_file", change="other examples, fewer and better before more", reason=reason)
    return [_rate(settings, 2.0, "The model does not appear to be converging."), quality]


VALIDATE = Advice(
    setting="validation_file",
    change="give one, held out of the training file",
    reason="Without validation losses, over-fitting does not show; `tunegate prepare` splits a file.",
)


def _more_data(settings: Settings, why: str) -> Advice:
    count = settings.examples
    change = f"from {count:,} to {2 * count:,} examples" if count else "twice as many examples"
    reason = f"{why} Each doubling of the examples improves a model by a similar amount, if they are as good."
    return Advice(setting="training_file", change=change, reason=reason)


def _rate(settings: Settings, factor: float, reason: str) -> Advice:
    now = settings.learning_rate_multiplier
    if now is not None:
        change = f"from {now:g} to {now * factor:g}"
    else:
        words = "twice" if factor > 1 else "half of"
        change = f"{words} what the upstream chose for auto ({factor:g} if that was 1)"
    return Advice(setting="learning_rate_multiplier", change=change, reason=reason)


def _from_to(now: int, *then: int) -> str:
    values: Sequence[int] = sorted({min(max(each, 1), MAX_EPOCHS) for each in then}, key=lambda each: abs(each - now))
    return f"from {now} to {' or '.join(str(each) for each in values)}"
