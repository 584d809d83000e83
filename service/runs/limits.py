"""What a run may be asked to keep within, on the wire. Pure."""

from typing import Annotated

import msgspec

MOST_BUDGET_DOLLARS = 1_000_000
Budget = Annotated[float, msgspec.Meta(gt=0, le=MOST_BUDGET_DOLLARS)]
"""Dollars."""
