"""Datasets whose check takes its process down with it: five crashes, then an error that says so, and the job ends."""

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from sqlalchemy import select

from service.database.tables import File, FileReport
from tests.workers.harness import DEADLINE_SECONDS, LINE, WorkerHarness
from workers.datasets.retry_policy import MAX_ATTEMPTS

CRASHES = 5


DIES = "import os, signal, sys; sys.stdin.readline(); os.kill(os.getpid(), signal.SIGKILL)"
HANGS = "import sys; sys.stdin.read()"
"""Programs in the place of the one that validates, from its first request on."""

LIMITED = """
from service.processes.guard import guarded
from service.processes.program import serve
def answer(request, progress):
    with guarded("reading a bomb", cpu_seconds=0.2):
        {does}
serve(dict, answer)
"""
ALLOCATES, SPINS = LIMITED.format(does="bytearray(8 << 30)"), LIMITED.format(does="while True: pass")
"""Programs that reach a limit."""


@contextmanager
def validating_by(harness: WorkerHarness, program: str) -> Iterator[None]:
    """While this lasts, a validating process is one that runs this program."""
    pool = harness.ctx.dataset_processes._reporting
    real = pool._command
    pool._command = (sys.executable, "-c", program)
    try:
        yield
    finally:
        pool._command = real


async def assert_ended_as_unchecked(harness: WorkerHarness, file_id: str, job_id: str, report: FileReport) -> None:
    """The report, the file and the job that waits for it tell the same."""
    assert (report.status, report.due_at) == ("ready", None)
    assert report.report is not None
    assert report.report["counts"] == {"not_checked": 1}
    async with harness.ctx.db.worker() as session:
        status = await session.scalar(select(File.status).where(File.id == file_id))
    assert status == "error"
    job = await harness.until_end(job_id)
    assert (job.state, job.error_code) == ("failed", "invalid_training_file")
    assert await harness.entries(job_id) == []


async def test_a_check_that_is_killed_each_time_ends_as_an_error(harness: WorkerHarness) -> None:
    file_id = await harness.new_file()
    await harness.leave_unchecked(file_id)
    job_id = await harness.new_job(training=file_id)
    with validating_by(harness, DIES):
        for crashes in range(1, CRASHES):
            report = await harness.check_step(file_id)
            assert (report.status, report.failures) == ("pending", 4 * crashes)
            assert (await harness.step(job_id)).state == "validating"
        report = await harness.check_step(file_id)
    await assert_ended_as_unchecked(harness, file_id, job_id, report)


async def test_a_check_that_takes_the_worker_with_it_ends_as_an_error_too(harness: WorkerHarness) -> None:
    """Each attempt was counted before it began, and no worker survived it."""
    file_id = await harness.new_file()
    await harness.leave_unchecked(file_id)
    job_id = await harness.new_job(training=file_id)
    with validating_by(harness, HANGS):
        for number in range(1, MAX_ATTEMPTS + 1):
            attempt = asyncio.create_task(harness.check_step(file_id))
            async with asyncio.timeout(DEADLINE_SECONDS):
                while (await harness.report(file_id)).failures < number:
                    await asyncio.sleep(0.01)
            attempt.cancel()
            await asyncio.gather(attempt, return_exceptions=True)
            await harness.end_leases()
    await assert_ended_as_unchecked(harness, file_id, job_id, await harness.check_step(file_id))


async def test_one_killed_once_is_checked_by_the_next(harness: WorkerHarness) -> None:
    file_id = await harness.new_file()
    await harness.leave_unchecked(file_id)
    with validating_by(harness, DIES):
        assert (await harness.check_step(file_id)).status == "pending"
    report = await harness.check_step(file_id)
    assert report.report is not None
    assert (report.status, report.report["errors"], report.report["examples"]) == ("ready", 0, 12)


@pytest.mark.parametrize(
    ("program", "names"),
    [(ALLOCATES, "memory (2,048 MiB, TUNEGATE_DATASET_MEMORY_BYTES)"), (SPINS, "TUNEGATE_DATASET_CPU_SECONDS is 300")],
)
async def test_one_that_reaches_a_limit_ends_at_the_first_attempt_with_its_name(
    harness: WorkerHarness, program: str, names: str
) -> None:
    file_id = await harness.new_file()
    await harness.leave_unchecked(file_id)
    with validating_by(harness, program):
        report = await harness.check_step(file_id)
    assert (report.status, report.due_at) == ("ready", None)
    assert report.report is not None
    assert report.report["counts"] == {"limit_reached": 1}
    message = report.report["findings"][0]["message"]
    assert names in message
    assert "reading a bomb" in message


async def test_the_check_of_a_real_file_has_a_limit_of_time(harness: WorkerHarness) -> None:
    file_id = await harness.new_file("".join(LINE % number for number in range(5_000)))
    await harness.leave_unchecked(file_id)
    settings = replace(harness.ctx.settings, dataset_cpu_seconds=0.001)
    report = await replace(harness, ctx=replace(harness.ctx, settings=settings)).check_step(file_id)
    assert report.report is not None
    assert report.report["counts"] == {"limit_reached": 1}
