"""Reads the JSON columns of a comparison's rows as structs."""

import msgspec

from service.database.tables import ComparisonCase, Run
from service.runs.comparisons.graders.base import Score
from service.runs.comparisons.grading import ComparisonOutcome
from service.runs.comparisons.options import ComparisonPlanOptions


def stored_options(run: Run) -> ComparisonPlanOptions:
    """The options of the comparison, with every default filled in."""
    return msgspec.convert(run.options, ComparisonPlanOptions)


def stored_outcome(run: Run) -> ComparisonOutcome | None:
    """The outcome of a comparison that was graded, else None."""
    return None if run.outcome is None else msgspec.convert(run.outcome, ComparisonOutcome)


def stored_scores(row: ComparisonCase) -> list[dict[str, Score]]:
    """The scores of a case: one mapping by grader for each model."""
    return msgspec.convert(row.grader_scores, list[dict[str, Score]])
