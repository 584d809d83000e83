"""Made training curves of each kind, with a seed, a length and a noise.

A curve is a smooth loss over the share of the training that is done, times log-normal noise of batches: real losses
have noise in proportion to their level and outliers upwards. `python -m tests.jobs.curves.made` prints the confusion.
"""

import math
import random
from collections import Counter
from collections.abc import Callable, Iterator
from typing import NamedTuple

from service.jobs.curves.advice import Settings
from service.jobs.curves.curve import Curve, StepLosses
from service.jobs.curves.verdict import Training, verdict

EPOCHS = 4
ENDED = Training(has_ended=True, settings=Settings(n_epochs=EPOCHS, learning_rate_multiplier=1.0, examples=400))

Shape = Callable[[float], float]


class Kind(NamedTuple):
    """Smooth training and validation losses over the share of the training, 0 to 1; no validation file if None."""

    name: str
    train: Shape
    valid: Shape | None


def falling(start: float, end: float, tau: float) -> Shape:
    """Falls exponentially with the time constant `tau`, in shares of the training."""
    return lambda t: end + (start - end) * math.exp(-t / tau)


def falling_then_rising(start: float, low: float, at: float, rises: float) -> Shape:
    """Falls until the share `at`, then rises linearly, to `low` times (1 + `rises`) at the end."""
    fall = falling(start, low, at / 4)
    return lambda t: fall(t) if t <= at else fall(at) + low * rises * (t - at) / (1 - at)


def constant(level: float) -> Shape:
    return lambda _: level


KINDS: dict[str, list[Kind]] = {
    "converging": [
        Kind("exponential", falling(2.3, 0.6, 0.1), falling(2.3, 0.8, 0.1)),
        Kind("without validation", falling(3.0, 0.5, 0.08), None),
        Kind("at once", falling(1.8, 1.1, 0.02), falling(1.8, 1.15, 0.02)),
        Kind("to nearly zero", falling(5.0, 0.05, 0.1), None),
        Kind("training falls on", lambda t: 0.3 + 1.7 * math.exp(-t / 0.4), falling(2.0, 1.2, 0.08)),
    ],
    "still_falling": [
        Kind("linear", lambda t: 2.0 - 0.8 * t, lambda t: 2.1 - 0.7 * t),
        Kind("slow exponential", falling(2.5, 0.5, 0.6), falling(2.5, 0.7, 0.6)),
        Kind("without validation", falling(3.0, 0.5, 0.7), None),
    ],
    "over_fitted": [
        Kind("at a third", falling(2.3, 0.2, 0.25), falling_then_rising(2.3, 1.1, 0.35, 0.5)),
        Kind("in the middle", falling(2.0, 0.3, 0.25), falling_then_rising(2.0, 1.0, 0.5, 0.3)),
        Kind("from the start", falling(1.5, 0.1, 0.2), lambda t: 1.2 + 0.6 * t),
    ],
    "diverged": [
        Kind("above the start", lambda t: 2.0 - 2.4 * t if t < 0.4 else 1.04 + 6 * (t - 0.4), None),
        Kind("half of it lost", lambda t: 2.0 - 2.4 * t if t < 0.5 else min(1.7, 0.8 + 6 * (t - 0.5)), None),
        Kind("with validation", lambda t: 1.5 + 1.5 * t, lambda t: 1.5 + 1.5 * t),
    ],
    "nothing_learnt": [
        Kind("level", constant(1.4), constant(1.5)),
        Kind("level without validation", constant(0.7), None),
    ],
    "too_noisy": [Kind("level", constant(1.4), None)],
}
NOISES = {"too_noisy": (0.6,)}
LENGTHS = (20, 60, 300, 2_000)


def made(kind: Kind, *, length: int, noise: float, seed: int, valid_every: int = 1, full: bool = True) -> Curve:
    """The curve: `valid_loss` at every `valid_every` steps, `full_valid_loss` at the ends of epochs."""
    rng = random.Random(f"{kind.name} {length} {noise} {seed}")
    steps = []
    for step in range(1, length + 1):
        t = (step - 1) / (length - 1)
        train = kind.train(t) * math.exp(rng.gauss(0, noise))
        valid = full_valid = None
        if kind.valid is not None and (step % valid_every == 0 or step == 1):
            valid = kind.valid(t) * math.exp(rng.gauss(0, noise))
        if kind.valid is not None and full and step % (length // EPOCHS) == 0:
            full_valid = kind.valid(t) * math.exp(rng.gauss(0, 0.003))
        steps.append(StepLosses(step, train, valid, full_valid))
    return Curve(steps, total_steps=length)


def cases(seeds: int) -> Iterator[tuple[str, Kind, int, float, int]]:
    """All kinds, lengths, noises and seeds. A level curve is too noisy where its noise hides a change by 5 %."""
    for truth, kinds in KINDS.items():
        for kind in kinds:
            for length in LENGTHS:
                for noise in NOISES.get(truth, (0.0, 0.02, 0.1, 0.3)):
                    if truth == "too_noisy" and length > 300:
                        continue
                    for seed in range(seeds):
                        yield truth, kind, length, noise, seed


def confusion(seeds: int, *, full: bool) -> Counter[tuple[str, float, str]]:
    """How many curves of each kind and noise received each verdict."""
    found: Counter[tuple[str, float, str]] = Counter()
    for truth, kind, length, noise, seed in cases(seeds):
        given = verdict(made(kind, length=length, noise=noise, seed=seed, full=full), ENDED)
        found[truth, noise, given.kind if given else "none"] += 1
    return found


def table(found: Counter[tuple[str, float, str]]) -> str:
    """The confusion as lines of text."""
    columns = [*KINDS, "none"]
    lines = [f"{'curve':<14} {'noise':>5} " + "  ".join(columns)]
    for truth, noise in sorted({key[:2] for key in found}, key=lambda key: (list(KINDS).index(key[0]), key[1])):
        counts = "  ".join(f"{found[truth, noise, name] or '-':>{len(name)}}" for name in columns)
        lines.append(f"{truth:<14} {noise:>5.0%} {counts}")
    return "\n".join(lines)


if __name__ == "__main__":
    for full in (True, False):
        print(f"full_valid_loss at the ends of epochs: {full}\n{table(confusion(10, full=full))}\n")
