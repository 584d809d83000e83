"""Fixtures of the tests of experiments: a project at an API before the scripted upstream, and a worker's context."""

from pathlib import Path

import pytest
import pytest_asyncio

from tests.experiments.harness import ExperimentHarness
from tests.runs.conftest import (  # noqa: F401  (the fixtures that these tests share with those of runs)
    harness,
    isolated_harness,
    run_api,
    run_processes,
    scripted_program,
    upstream,
)
from tests.runs.harness import RunHarness


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the asynchronous tests of this folder in the session's event loop."""
    for item in items:
        if pytest_asyncio.is_async_test(item) and item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest.fixture
def experiments(harness: RunHarness) -> ExperimentHarness:  # noqa: F811
    """An experiment harness for this test."""
    return ExperimentHarness(harness)
