"""Where the time of a demo goes."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class Durations:
    """The steps so far, each with its duration in seconds."""

    steps: list[tuple[str, float]] = field(default_factory=list)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Measure a step; one that fails is not recorded."""
        began = time.monotonic()
        yield
        self.steps.append((name, time.monotonic() - began))

    @property
    def seconds(self) -> float:
        """All steps together."""
        return sum(seconds for _, seconds in self.steps)

    def line(self) -> str:
        """Every step with its seconds, and the sum."""
        parts = ", ".join(f"{name} {seconds:.0f}" for name, seconds in self.steps)
        return f"{self.seconds:.0f} s: {parts}"
