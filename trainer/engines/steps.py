"""What the trainer needs from the engine that learns.

The default is `trainer.engines.bytemodel`; anything that satisfies `Engine` can replace it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Message:
    """One message that a model reads; `text` is its whole content, tool calls included as JSON."""

    role: str
    text: str


@dataclass(frozen=True, slots=True)
class Exchange:
    """A context and the answer to learn; `rejected` is the answer to unlearn (preference data)."""

    context: tuple[Message, ...]
    answer: str
    rejected: str | None = None


@dataclass(frozen=True, slots=True)
class Figures:
    """A mean over the answer tokens of a batch: loss in nats a token, accuracy from 0 to 1."""

    loss: float
    accuracy: float


@dataclass(frozen=True, slots=True)
class Sampling:
    """How to generate: temperature 0 takes the likeliest token, `max_bytes` bounds the answer's UTF-8 length."""

    temperature: float
    top_p: float
    seed: int
    max_bytes: int


class Learner(Protocol):
    """Weights in training, owned by one process."""

    def step(self, batch: Sequence[Exchange]) -> Figures:
        """Take one gradient step on the batch. Returns the figures of its answers before the step."""

    def measure(self, batch: Sequence[Exchange]) -> Figures:
        """Return the figures of a batch without a gradient step."""

    def save(self, path: Path) -> None:
        """Write the weights so that `Engine.learner` and `Engine.load` can read them; atomic.

        The learner continues from exactly what was written, so that an interrupted training has the same figures as
        an uninterrupted one.
        """


class Model(Protocol):
    """Weights that generate answers; safe to share between threads."""

    def generate(self, context: Sequence[Message], sampling: Sampling) -> Iterator[bytes]:
        """Yield the answer in pieces that need not end at a character; ends at its end or at `max_bytes`."""


class Engine(Protocol):
    """Trains weights and generates answers with them."""

    name: str

    def prepare(self) -> None:
        """Create the base weights unless they exist; called once before anything else."""

    def learner(
        self,
        start: Path | None,
        *,
        reference: Path | None,
        fresh_optimizer: bool,
        rate_multiplier: float,
        beta: float | None,
    ) -> Learner:
        """Continue from saved weights, or from the base when `start` is None.

        `fresh_optimizer` drops the step sizes in the file: a new job on an earlier model, not the same job going on.
        With `beta` the learner also unlearns rejected answers, relative to the `reference` weights (None: the base).
        """

    def load(self, weights: Path | None) -> Model:
        """Load weights that `Learner.save` wrote, to generate answers with them; None loads the base weights."""
