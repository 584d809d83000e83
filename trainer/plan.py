"""Resolves `auto` settings and counts a job's steps: pure functions of its settings and its number of examples."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Plan:
    """A job's settings without `auto`. `rate` multiplies the engine's step size."""

    n_epochs: int
    batch_size: int
    rate: float
    beta: float
    examples: int

    @property
    def steps_per_epoch(self) -> int:
        return -(-self.examples // self.batch_size)

    @property
    def total_steps(self) -> int:
        return self.n_epochs * self.steps_per_epoch


def resolve(
    *, examples: int, n_epochs: int | None, batch_size: int | None, rate: float | None, beta: float | None
) -> Plan:
    """Choose the settings that are None.

    Epochs follow OpenAI's cookbook: 3, more for fewer than 34 examples, fewer for more than 8,333. A batch is one
    example in 250, at least 1.
    """
    return Plan(
        n_epochs=n_epochs or _default_epochs(examples),
        batch_size=min(batch_size or max(1, min(256, examples // 250)), examples),
        rate=rate or 1.0,
        beta=beta or 0.1,
        examples=examples,
    )


def _default_epochs(examples: int) -> int:
    if examples * 3 < 100:
        return min(25, 100 // examples)
    if examples * 3 > 25_000:
        return max(1, 25_000 // examples)
    return 3
