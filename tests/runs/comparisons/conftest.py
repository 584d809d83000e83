"""The mill of runs, and a desk to compare at."""

import pytest

from tests.runs.comparisons.harness import ComparisonHarness
from tests.runs.harness import RunHarness


@pytest.fixture
def comparisons(harness: RunHarness) -> ComparisonHarness:
    """A desk of its own."""
    return ComparisonHarness(harness)
