"""Real workers killed with −9 while the upstream is at work; another one finishes, and everything has happened once.

The first is a process as in production (without Redis); the second is the reconciler in this process, once the lease of
the first has ended. Kills at every commit and send are in `tests/faults/test_kill_matrix.py`.
"""

import signal
from pathlib import Path

import pytest

from service.settings import Settings
from tests.faults.control import CREATE, NEVER, UPLOAD, FaultyUpstream
from tests.workers.harness import ended, eventually, open_harness, working
from tests.workers.process import WorkerProcess

pytestmark = pytest.mark.faults


async def test_a_worker_killed_while_the_upstream_works_on_its_requests(
    long_lease_settings: Settings, upstream: FaultyUpstream, tmp_path: Path
) -> None:
    """The answers come when nobody listens any more: to a create of one job and to an upload of another."""
    upstream.fault(CREATE, None, late=NEVER)
    async with open_harness(long_lease_settings, upstream) as harness:
        job_id = await harness.new_job()
        async with WorkerProcess(long_lease_settings, tmp_path) as first:
            await eventually(upstream.creates, about=first.output())
            upstream.fault(UPLOAD, None, late=NEVER)
            other = await harness.new_job(training=await harness.new_file("\n"))
            await eventually(lambda: len(upstream.seen(UPLOAD)) == 2)
            first.send(signal.SIGKILL)
            await first.killed()
        upstream.release()
        await eventually(lambda: upstream.jobs() and len(upstream.files()) == 2, about="nobody made what was asked for")
        await harness.end_leases()
        async with working(harness):
            await ended(harness, job_id, other)
        for each in (job_id, other):
            assert (await harness.job(each)).state == "succeeded"
            assert len(upstream.alive(each)) == 1
        assert len(upstream.creates()) == 2
        assert (await harness.balance()).reserved_micros == 0
