"""Fixtures of tests that perform the steps of workers."""

import dataclasses
from collections.abc import AsyncIterator, Iterator

import pytest
import structlog

from service.settings import Settings
from tests.faults.control import FaultyUpstream
from tests.workers.harness import WorkerHarness, open_harness


@pytest.fixture(scope="session", autouse=True)
def _short_logs() -> None:
    """Logs of a line each: what a step broke at, without its traceback."""

    def shorten(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        broken = event.pop("exc_info", None)
        return event if broken is None else {**event, "error": repr(broken)[:300]}

    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, shorten, structlog.processors.KeyValueRenderer()]
    )


@pytest.fixture(scope="session")
def upstream_program() -> Iterator[FaultyUpstream]:
    """The faulty upstream, one for the tests of an xdist worker."""
    program = FaultyUpstream()
    yield program
    program.stop()


@pytest.fixture
def upstream(upstream_program: FaultyUpstream) -> FaultyUpstream:
    """The faulty upstream, with nothing in it and no fault scripted."""
    upstream_program.reset()
    return upstream_program


@pytest.fixture
def step_settings(settings: Settings) -> Settings:
    """Settings for tests that perform steps themselves: leases that outlast a slow machine."""
    return dataclasses.replace(settings, lease_seconds=30.0, upstream_timeout_seconds=10.0, redis_url="")


@pytest.fixture
async def harness(step_settings: Settings, upstream: FaultyUpstream) -> AsyncIterator[WorkerHarness]:
    """A harness whose calls to the upstream time out after ten seconds."""
    async with open_harness(step_settings, upstream) as opened:
        yield opened


@pytest.fixture
async def impatient_harness(step_settings: Settings, upstream: FaultyUpstream) -> AsyncIterator[WorkerHarness]:
    """A harness whose calls time out after three seconds, for an upstream that does not answer."""
    async with open_harness(dataclasses.replace(step_settings, upstream_timeout_seconds=3.0), upstream) as opened:
        yield opened


@pytest.fixture
def short_lease_settings(settings: Settings, upstream: FaultyUpstream) -> Settings:
    """Settings of a worker with short leases, for tests in which another one takes over while it runs."""
    return dataclasses.replace(
        settings,
        upstream_base_url=upstream.base_url,
        upstream_api_key="sk-upstream",
        redis_url="",
        lease_seconds=5.0,
        upstream_timeout_seconds=3.0,
        settle_seconds=1.0,
        reconcile_seconds=0.1,
    )


@pytest.fixture
def long_lease_settings(short_lease_settings: Settings) -> Settings:
    """Settings of a worker that is killed: its leases outlast a slow machine, and the test ends them."""
    return dataclasses.replace(short_lease_settings, lease_seconds=60.0, upstream_timeout_seconds=30.0)
