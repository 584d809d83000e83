"""Fixtures: an S3 store behind a proxy that can interrupt it, and a worker harness that keeps its datasets there."""

import dataclasses
from collections.abc import AsyncIterator, Iterator

import pytest

from service.settings import Settings
from tests.faults.control import FaultyUpstream
from tests.faults.proxy import Proxy
from tests.storage.s3 import ObjectStore
from tests.workers.harness import WorkerHarness, open_harness

URL = "s3://bucket/tunegate"


@pytest.fixture
def store() -> Iterator[ObjectStore]:
    """The store."""
    started = ObjectStore()
    yield started
    started.stop()


@pytest.fixture
def link(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """The way to it, as the environment tells obstore."""
    proxy = Proxy(store.port)
    for name, value in {
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT": f"http://127.0.0.1:{proxy.port}",
        "AWS_ALLOW_HTTP": "true",
    }.items():
        monkeypatch.setenv(name, value)
    yield proxy
    proxy.stop()


@pytest.fixture
async def harness(step_settings: Settings, upstream: FaultyUpstream, link: Proxy) -> AsyncIterator[WorkerHarness]:
    """A worker harness whose datasets are in that store."""
    async with open_harness(dataclasses.replace(step_settings, storage_url=URL), upstream) as opened:
        yield opened
