"""Fixtures of the tests of runs: an API before the scripted upstream, and for each test a project with a worker.

The asynchronous tests of an xdist worker share one event loop, and in it the processes that check files and grade
answers: starting both takes longer than most of the tests.
"""

import base64
import dataclasses
import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from cli.embedded import OWNER, SERVICE
from service.settings import Settings
from tests.runs.harness import RunHarness, open_run_harness, served
from tests.runs.scripted import Scripted, scripted
from tests.stack import Servers
from tests.workers.harness import Processes

At = tuple[Settings, str]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the asynchronous tests of this folder in the session's event loop."""
    for item in items:
        if pytest_asyncio.is_async_test(item) and item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest.fixture(scope="session")
def scripted_program() -> Iterator[Scripted]:
    """The scripted upstream, one for the tests of an xdist worker."""
    with scripted() as running:
        yield running


@pytest.fixture
def upstream(scripted_program: Scripted) -> Scripted:
    """The scripted upstream, with an empty log."""
    scripted_program.reset()
    return scripted_program


@pytest.fixture(scope="session")
def run_api(servers: Servers, scripted_program: Scripted, tmp_path_factory: pytest.TempPathFactory) -> Iterator[At]:
    """Settings of API and worker, with leases that outlast a slow machine, and the API's base URL."""
    with servers.fresh_database() as name:
        settings = Settings(
            database_url=servers.postgres.url(SERVICE, name),
            owner_database_url=servers.postgres.url(OWNER, name),
            upstream_base_url=scripted_program.base_url,
            upstream_api_key="sk-upstream",
            master_key=base64.b64encode(secrets.token_bytes(32)).decode(),
            storage_url=f"file://{tmp_path_factory.mktemp('storage')}",
            lease_seconds=30.0,
            reconcile_seconds=0.2,
            inference_timeout_seconds=60.0,
            database_pool_size=5,
        )
        with served(settings) as base_url:
            yield settings, base_url


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def run_processes(run_api: At) -> AsyncIterator[Processes]:
    """The processes of the workers at that API."""
    processes = Processes.from_settings(run_api[0])
    yield processes
    await processes.close()


@pytest_asyncio.fixture(loop_scope="session")
async def harness(run_api: At, upstream: Scripted, run_processes: Processes) -> AsyncIterator[RunHarness]:
    """A fresh project at that API, and a worker's context."""
    settings, base_url = run_api
    async with open_run_harness(settings, base_url, upstream, run_processes) as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="session")
async def isolated_harness(settings: Settings, upstream: Scripted) -> AsyncIterator[RunHarness]:
    """A harness with a database of its own, for worker processes: a test ends the leases of those that it kills."""
    settings = dataclasses.replace(
        settings,
        upstream_base_url=upstream.base_url,
        upstream_api_key="sk-upstream",
        redis_url="",
        lease_seconds=30.0,
        reconcile_seconds=0.1,
        inference_timeout_seconds=60.0,
    )
    with served(settings) as base_url:
        async with open_run_harness(settings, base_url, upstream) as opened:
            yield opened
