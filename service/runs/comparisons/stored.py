"""Reads the JSON columns of a comparison's row as structs."""

import msgspec

from service.database.tables import Run
from service.runs.comparisons.grading import Outcome
from service.runs.comparisons.options import Options


def stored_options(run: Run) -> Options:
    """The options of the comparison, with every default filled in."""
    return msgspec.convert(run.options, Options)


def stored_outcome(run: Run) -> Outcome | None:
    """The outcome of a comparison that was graded, else None."""
    return None if run.outcome is None else msgspec.convert(run.outcome, Outcome)
