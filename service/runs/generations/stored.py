"""Reads the JSON columns of a generation's row as structs."""

import msgspec

from service.database.tables import Run
from service.runs.generations.options import Options
from service.runs.generations.plan import Generated


def stored_options(run: Run) -> Options:
    """The options of the generation, with every default filled in."""
    return msgspec.convert(run.options, Options)


def stored_outcome(run: Run) -> Generated | None:
    """The outcome of a generation that succeeded, else None."""
    return None if run.outcome is None else msgspec.convert(run.outcome, Generated)
