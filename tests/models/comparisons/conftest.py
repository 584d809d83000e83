"""The mill of runs, and a desk to compare at."""

import pytest

from tests.models.comparisons.desk import Desk
from tests.runs.conftest import lone_mill, mill, mill_site, scripted_program, upstream
from tests.runs.mill import Mill

__all__ = ["lone_mill", "mill", "mill_site", "scripted_program", "upstream"]


@pytest.fixture
def desk(mill: Mill) -> Desk:
    """A desk of its own."""
    return Desk(mill)
