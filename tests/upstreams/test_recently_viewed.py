"""Retrieving a running job or its events marks it as recently viewed: it is polled at once, then as often as set."""

import asyncio

import httpx2
import pytest

from tests.upstreams.conftest import UpstreamApi
from tests.workers.account_polls import MANY, due, running, step
from tests.workers.harness import WorkerHarness


@pytest.mark.parametrize("path", ["", "/events", "/checkpoints", "/metrics", "/events?stream=true"])
async def test_a_viewer_gets_updates_soon(harness: WorkerHarness, upstream_api: UpstreamApi, path: str) -> None:
    job_ids = await running(harness, MANY)
    await step(harness)
    assert await due(harness) == set()
    address = f"/fine_tuning/jobs/{job_ids[0]}{path}"
    if "stream" in path:
        async with upstream_api.mine.stream("GET", address) as following:
            assert following.status_code == 200
            await _until_due(harness, job_ids[0])
    else:
        assert (await upstream_api.mine.get(address)).status_code == 200
    assert await due(harness) == {job_ids[0]}


async def test_nobody_watches_the_job_of_another(harness: WorkerHarness, upstream_api: UpstreamApi) -> None:
    [job_id] = await running(harness, 1)
    answers: list[httpx2.Response] = [
        await upstream_api.other.get(f"/fine_tuning/jobs/{job_id}{path}") for path in ("", "/events", "/metrics")
    ]
    assert {answer.status_code for answer in answers} == {404}
    assert await due(harness) == set()
    assert (await harness.job(job_id)).last_viewed_at is None


async def _until_due(harness: WorkerHarness, job_id: str) -> None:
    for _ in range(1800):
        if job_id in await due(harness):
            return
        await asyncio.sleep(0.05)
    raise AssertionError("the stream's follower is not noticed")
