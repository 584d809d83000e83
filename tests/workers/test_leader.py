"""The leader of periodic tasks: one worker at a time, and another one takes over when its database session ends."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
from sqlalchemy import text

from service.database.engine import create_engine
from service.settings import Settings
from tests.workers.harness import eventually
from workers.maintenance import leader
from workers.maintenance.leader import PeriodicTask, lead

TASK_SECONDS = 0.02
NEVER_SECONDS = 600.0


class Overlap:
    """How many tasks of all workers have run at the same time, at most."""

    def __init__(self) -> None:
        self.running = self.max = 0


class Worker:
    """A worker that may lead, with one short task and a database connection of its own."""

    def __init__(
        self, settings: Settings, overlap: Overlap, name: str, *, ping_seconds: float, silent_seconds: float
    ) -> None:
        self.runs = 0
        self.engine = create_engine(settings.database_url, pool_size=1, application=name)
        self._overlap = overlap
        task = PeriodicTask("count", TASK_SECONDS, self._count)
        self.leading = asyncio.create_task(
            lead(self.engine, [task], retry_seconds=0.05, ping_seconds=ping_seconds, silent_seconds=silent_seconds)
        )

    async def _count(self) -> None:
        self._overlap.running += 1
        self._overlap.max = max(self._overlap.max, self._overlap.running)
        try:
            await asyncio.sleep(TASK_SECONDS)
            self.runs += 1
        finally:
            self._overlap.running -= 1

    async def stop(self) -> None:
        """Cancel it and wait for its end."""
        self.leading.cancel()
        await asyncio.gather(self.leading, return_exceptions=True)


Start = Callable[..., Worker]


@pytest.fixture
def overlap() -> Overlap:
    """The overlap of this test's workers."""
    return Overlap()


@pytest.fixture
async def start(settings: Settings, overlap: Overlap) -> AsyncIterator[Start]:
    """Starts workers, and stops them at the end."""
    workers: list[Worker] = []

    def start_one(name: str, *, ping_seconds: float = 0.1, silent_seconds: float = 20.0) -> Worker:
        workers.append(Worker(settings, overlap, name, ping_seconds=ping_seconds, silent_seconds=silent_seconds))
        return workers[-1]

    yield start_one
    for worker in workers:
        await worker.stop()
        await worker.engine.dispose()


async def test_of_two_workers_only_one_runs_the_task(start: Start, overlap: Overlap) -> None:
    workers = [start("first"), start("second")]
    await eventually(lambda: sum(worker.runs for worker in workers) >= 20)
    assert sorted(worker.runs > 0 for worker in workers) == [False, True]
    assert overlap.max == 1


async def test_another_worker_takes_over_from_a_cancelled_leader(start: Start, overlap: Overlap) -> None:
    first = start("first")
    await eventually(lambda: first.runs > 0)
    second = start("second")
    await first.stop()
    runs = first.runs
    await eventually(lambda: second.runs > 0)
    assert (first.runs, overlap.max) == (runs, 1)


async def test_another_worker_takes_over_when_the_connection_of_the_leader_is_ended(
    start: Start, settings: Settings
) -> None:
    first = start("first")
    await eventually(lambda: first.runs > 0)
    second = start("second")
    administrator = create_engine(settings.database_url, pool_size=1, role=None)
    async with administrator.connect() as connection:
        await connection.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE application_name = 'first' AND datname = current_database()"  # tests share the server
            )
        )
    await administrator.dispose()
    await eventually(lambda: second.runs > 0)
    await asyncio.sleep(0.3)  # more than the first one's next ping
    runs = first.runs
    await eventually(lambda: second.runs > 20)
    assert first.runs == runs


async def test_postgres_ends_the_session_of_a_silent_leader_and_another_worker_takes_over(start: Start) -> None:
    first = start("first", ping_seconds=NEVER_SECONDS, silent_seconds=0.5)
    await eventually(lambda: first.runs > 0)
    second = start("second")
    await eventually(lambda: second.runs > 0)


def test_a_leader_pings_several_times_within_the_time_after_which_it_is_silent() -> None:
    assert leader.SILENT_SECONDS >= 3 * leader.PING_SECONDS


async def test_a_task_that_hangs_is_cancelled_and_runs_again(settings: Settings) -> None:
    begun = 0

    async def hang() -> None:
        nonlocal begun
        begun += 1
        await asyncio.Event().wait()

    engine = create_engine(settings.database_url, pool_size=1, application="hangs")
    leading = asyncio.create_task(lead(engine, [PeriodicTask("hang", TASK_SECONDS, hang, limit_seconds=0.05)]))
    try:
        await eventually(lambda: begun > 1)
    finally:
        leading.cancel()
        await asyncio.gather(leading, return_exceptions=True)
        await engine.dispose()
