"""The comparison harness on top of the run harness."""

import pytest

from tests.runs.comparisons.harness import ComparisonHarness
from tests.runs.harness import RunHarness


@pytest.fixture
def comparisons(harness: RunHarness) -> ComparisonHarness:
    """A comparison harness for this test."""
    return ComparisonHarness(harness)
