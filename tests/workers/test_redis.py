"""Redis only wakes workers: with it stopped or flushed meanwhile, jobs still end.

Workers without any Redis are those of the kills and races.
"""

import dataclasses
import signal
import subprocess
from pathlib import Path

import pytest
import redis

from cli.embedded import Valkey, free_port
from service.settings import Settings
from tests.faults.control import FaultyUpstream
from tests.workers.harness import ended, eventually, open_harness
from tests.workers.process import WorkerProcess


@pytest.mark.parametrize("how", ["stopped", "flushed"])
async def test_jobs_end(settings: Settings, upstream: FaultyUpstream, tmp_path: Path, how: str) -> None:
    valkey = Valkey(folder=tmp_path / "redis", port=free_port(), password="secret")
    upstream.steps(*["running"] * 8, "succeeded")
    short_lease_settings = dataclasses.replace(
        settings,
        upstream_base_url=upstream.base_url,
        upstream_api_key="sk-upstream",
        redis_url=valkey.url,
        reconcile_seconds=0.1,
    )
    program = valkey.program(tmp_path / "redis.log")
    server = subprocess.Popen(program.command, stdout=subprocess.DEVNULL)
    try:
        await eventually(lambda: program.ready is not None and program.ready())
        async with (
            open_harness(short_lease_settings, upstream) as harness,
            WorkerProcess(short_lease_settings, tmp_path),
        ):
            job_id = await harness.new_job()
            await eventually(upstream.creates)
            if how == "stopped":
                server.send_signal(signal.SIGKILL)
                server.wait()
            else:
                with redis.Redis.from_url(valkey.url) as connection:
                    connection.flushall()
            later = await harness.new_job()
            await ended(harness, job_id, later)
            for each in (job_id, later):
                assert (await harness.job(each)).state == "succeeded"
                assert len(upstream.alive(each)) == 1
    finally:
        server.kill()
        server.wait()
