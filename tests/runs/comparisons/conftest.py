"""The mill of runs, and a desk to compare at."""

import pytest

from tests.runs.comparisons.harness import Desk
from tests.runs.harness import Mill


@pytest.fixture
def desk(mill: Mill) -> Desk:
    """A desk of its own."""
    return Desk(mill)
