"""How one try of a deletion can end that did not break."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Done:
    """It is gone."""


@dataclass(frozen=True, slots=True)
class NotYet:
    """Something has to end first; that is no failure. When to look again."""

    reason: str
    seconds: float


DONE = Done()
