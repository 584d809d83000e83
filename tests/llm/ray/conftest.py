"""One Ray for all tests of this folder."""

from collections.abc import Iterator

import pytest

from tests.trainer.conftest import base_weights, start_trainer, trainer

from .cluster import Cluster, running_cluster

__all__ = ["base_weights", "start_trainer", "trainer"]


@pytest.fixture(scope="session")
def shared_cluster() -> Iterator[Cluster]:
    """Started once, in about twenty seconds."""
    with running_cluster() as cluster:
        yield cluster


@pytest.fixture
def cluster(shared_cluster: Cluster) -> Cluster:
    """Two nodes with a GPU each, whatever the test before did to its nodes."""
    shared_cluster.nodes(2)
    return shared_cluster
