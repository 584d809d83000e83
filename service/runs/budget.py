"""The budget of a run in requests and responses. Pure."""

from typing import Annotated

import msgspec

MAX_BUDGET_DOLLARS = 1_000_000
Budget = Annotated[float, msgspec.Meta(gt=0, le=MAX_BUDGET_DOLLARS)]
"""The most that a run may cost, in dollars."""
