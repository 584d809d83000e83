"""The outcomes of a deletion attempt that raised no error."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Done:
    """The object is deleted."""


@dataclass(frozen=True, slots=True)
class NotYet:
    """Something has to end first, which is no failure. The next attempt follows after `seconds`."""

    reason: str
    seconds: float


DONE = Done()
