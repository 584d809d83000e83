"""Redis only rings: without it, with it stopped and with it flushed, jobs end all the same."""

import dataclasses
import signal
import subprocess
from pathlib import Path

import pytest
import redis

from cli.embedded import Valkey, free_port
from service.settings import Settings
from tests.faults.control import FaultyUpstream
from tests.workers.bench import ended, eventually, open_bench
from tests.workers.process import WorkerProcess


@pytest.mark.parametrize("how", ["absent", "stopped", "flushed"])
async def test_jobs_end(settings: Settings, upstream: FaultyUpstream, tmp_path: Path, how: str) -> None:
    valkey = Valkey(folder=tmp_path / "redis", port=free_port(), password="secret")
    upstream.steps(*["running"] * 8, "succeeded")
    quick = dataclasses.replace(
        settings,
        upstream_base_url=upstream.base_url,
        upstream_api_key="sk-upstream",
        redis_url="" if how == "absent" else valkey.url,
        reconcile_seconds=0.1,
    )
    program = valkey.program(tmp_path / "redis.log")
    server = None if how == "absent" else subprocess.Popen(program.command, stdout=subprocess.DEVNULL)  # noqa: ASYNC220
    try:
        if server is not None and program.ready is not None:
            await eventually(program.ready)
        async with open_bench(quick, upstream) as bench, WorkerProcess(quick, tmp_path):
            job_id = await bench.new_job()
            await eventually(upstream.creates)
            if server is not None and how == "stopped":
                server.send_signal(signal.SIGKILL)
                server.wait()
            elif server is not None:
                with redis.Redis.from_url(valkey.url) as connection:
                    connection.flushall()
            later = await bench.new_job()
            await ended(bench, job_id, later)
            for each in (job_id, later):
                assert (await bench.job(each)).state == "succeeded"
                assert len(upstream.alive(each)) == 1
    finally:
        if server is not None and server.poll() is None:
            server.kill()
            server.wait()
