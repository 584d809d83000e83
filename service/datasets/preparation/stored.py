"""Reads the JSON columns of a preparation's row as structs."""

import msgspec

from service.database.tables import DatasetPreparation
from service.datasets.preparation.options import Options
from service.datasets.preparation.outcome import Prepared


def stored_options(row: DatasetPreparation) -> Options:
    """The options of the request."""
    return msgspec.convert(row.options, Options)


def stored_outcome(row: DatasetPreparation) -> Prepared | None:
    """The outcome of a preparation that succeeded, else None."""
    return None if row.outcome is None else msgspec.convert(row.outcome, Prepared)
