"""Reads the JSON columns of a generation's row as structs."""

import msgspec

from service.database.tables import Run
from service.runs.generations.options import GenerationOutcome, GenerationPlanOptions


def stored_options(run: Run) -> GenerationPlanOptions:
    """The options of a generation, with every default filled in."""
    return msgspec.convert(run.options, GenerationPlanOptions)


def stored_outcome(run: Run) -> GenerationOutcome | None:
    """The counts of a generation that has ended with examples; None before."""
    return None if run.outcome is None else msgspec.convert(run.outcome, GenerationOutcome)
