"""A worker that is asked to stop ends within its limit, even where Postgres and Redis hang and answer nothing."""

import os
import signal
import subprocess
import time
from contextlib import suppress

import pytest

from tests.faults.harness import open_fault_harness

END_SECONDS = 4.0
"""The limit that the worker of this test gets; in production `workers.main.END_SECONDS`."""

SLACK_SECONDS = 60.0


@pytest.mark.timeout(400)
async def test_a_worker_stops_although_nothing_answers() -> None:
    hung: list[int] = []
    async with open_fault_harness() as harness:
        harness.new_api().start()
        worker = harness.new_worker().start(end_seconds=END_SECONDS)
        await harness.serving()
        await harness.all_well()
        try:
            for pid in (harness.postgres.pid, harness.redis.pid):  # which starts no more backends then
                os.kill(pid, signal.SIGSTOP)
                hung.append(pid)
            backends = subprocess.run(
                ["pgrep", "-P", str(harness.postgres.pid)], capture_output=True, text=True, check=True
            ).stdout.split()
            for pid in map(int, backends):
                with suppress(ProcessLookupError):  # it has ended meanwhile
                    os.kill(pid, signal.SIGSTOP)
                    hung.append(pid)
            asked_at = time.monotonic()
            worker.signal(signal.SIGTERM)
            await worker.ended(END_SECONDS + SLACK_SECONDS)
            assert time.monotonic() - asked_at < END_SECONDS + SLACK_SECONDS
        finally:
            for pid in hung:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)
