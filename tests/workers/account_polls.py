"""Jobs that run upstream, and steps of their account's poll, for the tests of polls."""

import asyncio
import dataclasses
import datetime as dt
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from sqlalchemy import func, insert, select, update

from service.database import leases
from service.database.tables import AccountPoll, Job, UpstreamAccount
from service.ids import new_id
from service.upstreams import poll_schedule
from service.upstreams.accounts import DEFAULT_ACCOUNT
from service.upstreams.labels import labels
from tests.workers.harness import MODEL, WorkerHarness
from workers.jobs import poll_limiter
from workers.jobs.account_poller import poll_account

MANY = poll_schedule.MAX_POLLED_SINGLY + 5
FAR = dt.timedelta(hours=2)
METHOD = {
    "type": "supervised",
    "supervised": {"hyperparameters": {"n_epochs": 1, "batch_size": "auto", "learning_rate_multiplier": "auto"}},
}


async def running(harness: WorkerHarness, count: int, *, account_id: str = DEFAULT_ACCOUNT) -> list[str]:
    """Jobs that run upstream, known to the last word, and are not due for long."""
    file_id = await harness.new_file()
    made = []
    for _ in range(count):
        job_id = new_id("ftjob-")
        steps = [{"status": "running"}]
        theirs = harness.upstream.put_job(
            model=MODEL, metadata=labels(harness.ctx.instance, job_id, 1), _steps=steps, status="running"
        )
        made.append(
            {
                "id": job_id, "project_id": harness.project_id, "state": "running", "model": MODEL, "seed": 1,
                "training_file_id": file_id, "method": METHOD,
                "create_phase": "created", "account_id": account_id, "upstream_job_id": theirs["id"],
                "upstream_status": "running", "upstream_snapshot": "running||||", "due_at": func.now() + FAR,
                "polled_at": func.now() - FAR, "admitted_at": func.now(), "started_at": func.now(),
            }
        )  # fmt: skip
    async with harness.ctx.db.worker() as session:
        for values in made:
            await session.execute(insert(Job).values(**values))
    await make_due(harness, account_id)
    return [values["id"] for values in made]


async def make_due(harness: WorkerHarness, account_id: str = DEFAULT_ACCOUNT) -> None:
    """Have the account watched over now."""
    await poll_limiter.take(harness.ctx.db, account_id, requests=1, base_seconds=1.0, may_exceed=True)
    async with harness.ctx.db.worker() as session:
        await session.execute(update(AccountPoll).where(AccountPoll.id == account_id).values(due_at=func.now()))


async def step(harness: WorkerHarness, account_id: str = DEFAULT_ACCOUNT) -> AccountPoll:
    """One step of the watch, as a worker does it; and the watch afterwards."""
    await make_due(harness, account_id)
    async with harness.ctx.db.worker() as session:
        [claimed] = await leases.claim(session, AccountPoll, lease_seconds=30, where=[AccountPoll.id == account_id])
    await poll_account(harness.ctx, claimed)
    return await account_poll_of(harness, account_id)


async def account_poll_of(harness: WorkerHarness, account_id: str = DEFAULT_ACCOUNT) -> AccountPoll:
    """The watch as it is now."""
    async with harness.ctx.db.worker() as session:
        return await session.get_one(AccountPoll, account_id)


async def due(harness: WorkerHarness) -> set[str]:
    """The jobs that are due."""
    async with harness.ctx.db.worker() as session:
        return set(await session.scalars(select(Job.id).where(Job.due_at <= func.clock_timestamp())))


async def end(harness: WorkerHarness, job_ids: list[str]) -> None:
    """End jobs behind the workers' backs."""
    values = {"state": "failed", "error_code": "x", "finished_at": func.now(), "due_at": None}
    async with harness.ctx.db.worker() as session:
        await session.execute(update(Job).where(Job.id.in_(job_ids)).values(**values))


async def upstream_id(harness: WorkerHarness, job_id: str) -> str:
    """The id of a job's upstream job."""
    return (await harness.job(job_id)).upstream_job_id or ""


async def set_budget(harness: WorkerHarness, per_minute: int) -> None:
    """Give the account a budget."""
    async with harness.ctx.db.worker() as session:
        await session.execute(update(UpstreamAccount).values(polls_per_minute=per_minute))


async def seconds_until_due(harness: WorkerHarness, job_id: str) -> float:
    """When a job is polled again."""
    due_at = (await harness.job(job_id)).due_at
    assert due_at is not None
    return (due_at - dt.datetime.now(dt.UTC)).total_seconds()


def patient(harness: WorkerHarness, poll_seconds: float = 300.0) -> WorkerHarness:
    """The same with long pauses, so that an interval is not over in the test."""
    settings = dataclasses.replace(harness.ctx.settings, poll_seconds=poll_seconds)
    return dataclasses.replace(harness, ctx=dataclasses.replace(harness.ctx, settings=settings))


async def listed(harness: WorkerHarness) -> bool:
    """Whether the default account has been listed."""
    return (await account_poll_of(harness)).listing


async def has_status(harness: WorkerHarness, job_id: str, status: str) -> bool:
    """Whether the job's row knows this status."""
    return (await harness.job(job_id)).upstream_status == status


async def until(harness: WorkerHarness, about: str, condition: Any) -> None:
    """Wait until a condition holds that has to be asked for."""
    for _ in range(1800):
        if await condition():
            return
        await asyncio.sleep(0.05)
    raise AssertionError(about)


@asynccontextmanager
async def silence() -> AsyncIterator[tuple[str, asyncio.Event, asyncio.Event]]:
    """The base URL of a server that answers nothing: set once it was asked, and to be set that it hang up."""
    asked, hang_up = asyncio.Event(), asyncio.Event()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with AsyncExitStack() as stack:
            stack.callback(writer.close)
            await reader.readline()
            asked.set()
            await hang_up.wait()

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}/v1", asked, hang_up
    finally:
        server.close()
