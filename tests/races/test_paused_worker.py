"""A worker that is stopped past its lease and revived (SIGSTOP, SIGCONT) does no harm: the row has a new holder."""

import signal
from pathlib import Path

import pytest

from service.settings import Settings
from tests.faults.control import CREATE, NEVER, FaultyUpstream
from tests.workers.harness import ended, eventually, open_harness, working
from tests.workers.process import WorkerProcess

pytestmark = pytest.mark.faults


@pytest.mark.parametrize("point", ["create.intent_committed", "create.answered", "settle.results_stored"])
async def test_stopped_between_two_steps(
    short_lease_settings: Settings, upstream: FaultyUpstream, tmp_path: Path, point: str
) -> None:
    async with (
        open_harness(short_lease_settings, upstream) as harness,
        WorkerProcess(short_lease_settings, tmp_path, fault_point=point, fault_signal="SIGSTOP") as paused,
    ):
        job_id = await harness.new_job()
        await paused.stopped()
        async with working(harness):
            await ended(harness, job_id)
        paused.send(signal.SIGCONT)
        await eventually(lambda: "taken_over" in paused.output(), about="the revived worker does not notice")
        await harness.assert_succeeded_once(job_id)
        assert len(upstream.creates()) == 1


async def test_stopped_while_the_upstream_makes_the_job(
    long_lease_settings: Settings, upstream: FaultyUpstream, tmp_path: Path
) -> None:
    """The answer is in the socket when the worker wakes up; another worker has adopted the job meanwhile."""
    upstream.fault(CREATE, None, late=NEVER)
    async with (
        open_harness(long_lease_settings, upstream) as harness,
        WorkerProcess(long_lease_settings, tmp_path) as paused,
    ):
        job_id = await harness.new_job()
        await eventually(upstream.creates)
        paused.send(signal.SIGSTOP)
        await paused.stopped()
        await harness.end_leases()
        upstream.release()
        async with working(harness):
            await ended(harness, job_id)
        paused.send(signal.SIGCONT)
        await eventually(lambda: "taken_over" in paused.output(), about="the revived worker does not notice")
        await harness.assert_succeeded_once(job_id)
        assert len(upstream.creates()) == 1
