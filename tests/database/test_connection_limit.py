"""A program whose pools may grow above what Postgres accepts says so when it starts."""

import dataclasses

import pytest
from structlog.testing import capture_logs

from service.database.connection_limit import warn_of_too_few_connections
from service.settings import Settings


@pytest.mark.parametrize(("processes", "warns"), [(1, False), (9, False), (10, True)])
async def test_pools_are_compared_with_what_postgres_accepts(settings: Settings, processes: int, warns: bool) -> None:
    """The tests' server accepts 200 connections, three of them of superusers only."""
    with capture_logs() as logs:
        await warn_of_too_few_connections(
            dataclasses.replace(settings, database_pool_size=20), processes=processes, application="tests"
        )
    events = [entry["event"] for entry in logs]
    assert events == (["database.too_few_connections"] if warns else [])


async def test_an_unavailable_database_is_no_reason_to_warn(settings: Settings) -> None:
    away = dataclasses.replace(settings, database_url="postgresql://nobody@127.0.0.1:1/none")
    with capture_logs() as logs:
        await warn_of_too_few_connections(away, processes=1000, application="tests")
    assert logs == []
