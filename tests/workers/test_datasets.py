"""Datasets whose check takes its process down with it: five crashes, then an error that says so, and the job ends."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from sqlalchemy import select

from service.tables import File, FileReport
from tests.workers.bench import DEADLINE_SECONDS, Bench
from workers.tries import MOST_TRIES

CRASHES = 5


def validators() -> Iterator[int]:
    """The validating processes that this process runs."""
    for task in Path("/proc/self/task").iterdir():
        with suppress(OSError):  # a thread or a process that has ended meanwhile
            for pid in (task / "children").read_text().split():
                if b"service.datasets." in Path(f"/proc/{pid}/cmdline").read_bytes():
                    yield int(pid)


async def kill_each() -> None:
    """Kill every validating process as soon as it is there."""
    while True:
        for pid in validators():
            os.kill(pid, signal.SIGKILL)
        await asyncio.sleep(0.01)


@asynccontextmanager
async def killing() -> AsyncIterator[None]:
    """While this lasts, no validating process lives. Raises what stopped the killing, if anything did."""
    async with asyncio.TaskGroup() as group:
        task = group.create_task(kill_each())
        yield
        task.cancel()


async def assert_ended_as_unchecked(bench: Bench, file_id: str, job_id: str, report: FileReport) -> None:
    """The report, the file and the job that waits for it tell the same."""
    assert (report.status, report.due_at) == ("ready", None)
    assert report.report is not None
    assert report.report["counts"] == {"not_checked": 1}
    async with bench.ctx.db.worker() as session:
        status = await session.scalar(select(File.status).where(File.id == file_id))
    assert status == "error"
    job = await bench.until_end(job_id)
    assert (job.state, job.error_code) == ("failed", "invalid_training_file")
    assert await bench.entries(job_id) == []


async def test_a_check_that_is_killed_each_time_ends_as_an_error(bench: Bench) -> None:
    file_id = await bench.new_file()
    await bench.leave_unchecked(file_id)
    job_id = await bench.new_job(training=file_id)
    async with killing():
        for crashes in range(1, CRASHES):
            report = await bench.check_step(file_id)
            assert (report.status, report.failures) == ("pending", 4 * crashes)
            assert (await bench.step(job_id)).state == "validating"
        report = await bench.check_step(file_id)
    await assert_ended_as_unchecked(bench, file_id, job_id, report)


async def test_a_check_that_takes_the_worker_with_it_ends_as_an_error_too(bench: Bench) -> None:
    """Each try was counted before it was made, and no worker lived to tell of it."""
    file_id = await bench.new_file()
    await bench.leave_unchecked(file_id)
    job_id = await bench.new_job(training=file_id)
    for number in range(1, MOST_TRIES + 1):
        attempt = asyncio.create_task(bench.check_step(file_id))
        async with asyncio.timeout(DEADLINE_SECONDS):
            while (await bench.report(file_id)).failures < number:
                await asyncio.sleep(0.01)
        attempt.cancel()
        await asyncio.gather(attempt, return_exceptions=True)
        await bench.end_leases()
    await assert_ended_as_unchecked(bench, file_id, job_id, await bench.check_step(file_id))


async def test_one_killed_once_is_checked_by_the_next(bench: Bench) -> None:
    file_id = await bench.new_file()
    await bench.leave_unchecked(file_id)
    async with killing():
        assert (await bench.check_step(file_id)).status == "pending"
    report = await bench.check_step(file_id)
    assert report.report is not None
    assert (report.status, report.report["errors"], report.report["examples"]) == ("ready", 0, 12)
