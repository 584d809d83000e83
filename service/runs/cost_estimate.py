"""The estimated cost of a run, before it begins. Pure."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class CostEstimate:
    """The lowest, expected and highest cost of a run, in micro-dollars, and its number of calls."""

    low_micros: int
    expected_micros: int
    upper_micros: int
    min_calls: int
    max_calls: int
