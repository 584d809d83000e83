"""The worker harness: a database, a worker's context, the faulty upstream, and factories for rows.

No test waits for a time to come: `step` makes a job due and performs one step of it as a worker does, so a test reads
like the protocol and takes as long as its calls.
"""

import asyncio
import dataclasses
import datetime as dt
import hashlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import func, select, update

from service.billing.ledger_batcher import LedgerBatcher
from service.catalogue import models_file
from service.database import leases
from service.database.encryption import sealer_of
from service.database.engine import Database, create_engine, project_connections
from service.database.tables import (
    AccountPoll,
    Balance,
    Deletion,
    File,
    FileReport,
    Gateway,
    Job,
    JobEvent,
    JobState,
    LedgerEntry,
    Project,
    SchedulingPass,
    UpstreamAccount,
    UpstreamCall,
    UpstreamFile,
    WebhookEvent,
)
from service.datasets.report_schema import FileReport as Report
from service.fair_shares import share
from service.http.rate_limits import RateLimiter
from service.ids import new_id
from service.inference.metering import Meter
from service.inference.token_counts import ThreadCounts
from service.jobs.actions import PricingContext, create_job, request_cancel, request_pause
from service.jobs.schemas import CreateJob
from service.limits.rates import RateLimitEnforcer
from service.limits.scheduling_pass import request_scheduling_pass
from service.runs.evaluator import Evaluator
from service.settings import Settings
from service.states import ENDED
from service.storage import Storage
from service.upstreams.accounts import DEFAULT_ACCOUNT, Accounts, ensure_default_account
from service.upstreams.adapters.azure import UPSTREAMS
from service.wakeups import Wakeups
from service.webhooks.sender import Sender
from tests.faults.control import FaultyUpstream
from workers.bulkhead import Bulkhead
from workers.context import AccountContext, Context
from workers.dataset_processes import DatasetProcesses
from workers.datasets.report import validate
from workers.detached_calls import DetachedCalls
from workers.jobs.advance import advance
from workers.jobs.schedule import run_scheduling_pass
from workers.registry import dispatcher_of
from workers.run_places import call_places
from workers.webhooks.deliver import DeliveryBatches

MODEL = "gpt-4o-mini-2024-07-18"
TOKENS_PER_EPOCH = 1000
LINE = '{"messages": [{"role": "user", "content": "%d"}, {"role": "assistant", "content": "ok"}]}\n'
MAX_STEPS = 60
DEADLINE_SECONDS = 90.0


@dataclass(frozen=True, slots=True)
class WorkerHarness:
    """A project whose jobs can be worked on step by step."""

    ctx: Context
    upstream: FaultyUpstream
    project_id: str

    @property
    def concurrent_transactions(self) -> int:
        """How many transactions of the project run at the same time, if no other project has any."""
        return share(project_connections(self.ctx.settings.database_pool_size), 0)

    async def at_account(self, account_id: str = DEFAULT_ACCOUNT) -> AccountContext:
        """The context of a step about an account."""
        return self.ctx.at(await self.ctx.accounts.get(account_id))

    async def new_file(self, text: str = "", *, stored: bool = True) -> str:
        """A dataset with a clean report; `stored` False: its bytes are lost."""
        file_id = new_id("file-")
        content = ("".join(LINE % number for number in range(12)) + text).encode()
        key = f"{self.project_id}/{file_id}"

        async def chunks() -> AsyncIterator[bytes]:
            yield content

        if stored:
            await self.ctx.storage.put(key, chunks())
        model = self.ctx.catalogue.find(MODEL)
        assert model is not None
        report = Report(
            file_id=file_id,
            status="ready",
            progress=1.0,
            model=MODEL,
            max_tokens=model.max_tokens,
            format="chat",
            bytes=len(content),
            examples=12,
            billable_tokens_per_epoch=TOKENS_PER_EPOCH,
        )
        async with self.ctx.db.project(self.project_id) as session:
            session.add(
                File(
                    id=file_id,
                    project_id=self.project_id,
                    filename="data.jsonl",
                    purpose="fine-tune",
                    size_bytes=len(content),
                    sha256=hashlib.sha256(content).hexdigest(),
                    storage_key=key,
                    status="processed",
                )
            )
            await session.flush()
            session.add(
                FileReport(
                    id=new_id("report-"),
                    project_id=self.project_id,
                    file_id=file_id,
                    model=MODEL,
                    encoding=model.encoding,
                    max_tokens=model.max_tokens,
                    status="ready",
                    report=msgspec.to_builtins(report),
                )
            )
        return file_id

    async def leave_unchecked(self, file_id: str) -> None:
        """Resets a dataset to uploaded and not validated."""
        async with self.ctx.db.worker() as session:
            await session.execute(
                update(FileReport)
                .where(FileReport.file_id == file_id)
                .values(status="pending", report=None, due_at=func.now())
            )
            await session.execute(update(File).where(File.id == file_id).values(status="uploaded"))

    async def check_step(self, file_id: str) -> FileReport:
        """One attempt at the dataset's report, as a worker makes it."""
        async with self.ctx.db.worker() as session:
            mine = FileReport.file_id == file_id
            await session.execute(
                update(FileReport).where(mine, FileReport.due_at.is_not(None)).values(due_at=func.now())
            )
            claimed = await leases.claim(session, FileReport, lease_seconds=30.0, where=[mine])
        for each in claimed:
            await validate(self.ctx, each)
        return await self.report(file_id)

    async def report(self, file_id: str) -> FileReport:
        """The dataset's report as it is now."""
        async with self.ctx.db.worker() as session:
            return (await session.scalars(select(FileReport).where(FileReport.file_id == file_id))).one()

    async def new_job(self, *, training: str | None = None, validation: str | None = None) -> str:
        """A job as the API accepts it: reserved, and due for the workers."""
        body = CreateJob(model=MODEL, training_file=training or await self.new_file(), validation_file=validation)
        pricing_context = PricingContext(
            catalogue=self.ctx.catalogue,
            today=self.ctx.today(),
        )
        async with self.ctx.db.project(self.project_id) as session:
            job = await create_job(session, project_id=self.project_id, body=body, pricing_context=pricing_context)
        return job.id

    async def job(self, job_id: str) -> Job:
        """The job as it is now."""
        async with self.ctx.db.worker() as session:
            return await session.get_one(Job, job_id)

    async def claim(self, job_id: str) -> leases.Claim[Job] | None:
        """Claim the job as if its time had come; None while another holds it, or when nothing is left to do."""
        async with self.ctx.db.worker() as session:
            await session.execute(
                update(Job).where(Job.id == job_id, Job.due_at.is_not(None)).values(due_at=func.now())
            )
            claimed = await leases.claim(
                session, Job, lease_seconds=self.ctx.settings.lease_seconds, where=[Job.id == job_id]
            )
        return claimed[0] if claimed else None

    async def step(self, job_id: str) -> Job:
        """One step of the job, as a worker does it."""
        claimed = await self.claim(job_id)
        if claimed is not None:
            await advance(self.ctx, claimed)
        elif (await self.job(job_id)).state == "waiting":
            await self.run_scheduling_pass()
        return await self.job(job_id)

    async def run_scheduling_pass(self) -> None:
        """Give the free slots to waiting jobs, as a worker does when somebody asks for it."""
        async with self.ctx.db.worker() as session:
            await request_scheduling_pass(session)
        async with self.ctx.db.worker() as session:
            claimed = await leases.claim(session, SchedulingPass, lease_seconds=self.ctx.settings.lease_seconds)
        for each in claimed:  # none while another takes it
            await run_scheduling_pass(self.ctx, each)

    async def steps(self, job_id: str, times: int) -> Job:
        """So many steps."""
        for _ in range(times):
            await self.step(job_id)
        return await self.job(job_id)

    async def until(self, job_id: str, *states: str) -> Job:
        """Step on until the job is in one of the states."""
        for _ in range(MAX_STEPS):
            job = await self.step(job_id)
            if job.state in states:
                return job
        raise AssertionError(f"{job_id} stays {job.state}: {job.waiting_reason}; {await self.messages(job_id)}")

    async def until_sent(self, job_id: str) -> Job:
        """Step on until the first create has been sent, with any outcome."""
        await self.until(job_id, "creating")
        return await self.step(job_id)

    async def until_end(self, job_id: str) -> Job:
        """Step on until the job has ended."""
        return await self.until(job_id, *ENDED)

    async def request_cancel(self, job_id: str) -> None:
        """What the caller's cancel does."""
        async with self.ctx.db.project(self.project_id) as session:
            await request_cancel(session, self.project_id, job_id)

    async def request_pause(self, job_id: str, *, pause: bool) -> None:
        """What the caller's pause or resume does."""
        async with self.ctx.db.project(self.project_id) as session:
            await request_pause(session, self.project_id, job_id, pause=pause)

    async def pass_settle_time(self, job_id: str) -> None:
        """Let the settle time of an unanswered create be over."""
        await self.set_job(job_id, create_settled_at=func.now())

    async def set_job(self, job_id: str, **values: Any) -> None:
        """Updates the job's row directly."""
        async with self.ctx.db.worker() as session:
            await session.execute(update(Job).where(Job.id == job_id).values(**values))

    async def end_leases(self) -> None:
        """Let every lease be over, as after its time."""
        async with self.ctx.db.worker() as session:
            for table in (SchedulingPass, FileReport, Job, UpstreamFile, AccountPoll, Deletion):
                past = func.now() - dt.timedelta(seconds=1)
                await session.execute(update(table).where(table.leased_until.is_not(None)).values(leased_until=past))

    async def account(self) -> UpstreamAccount:
        """The upstream account."""
        async with self.ctx.db.worker() as session:
            return await session.get_one(UpstreamAccount, DEFAULT_ACCOUNT)

    async def end_cool_down(self) -> None:
        """Ends the account's cool-down."""
        async with self.ctx.db.worker() as session:
            await session.execute(update(UpstreamAccount).values(cool_down_until=func.now()))

    async def calls(self, job_id: str) -> Sequence[UpstreamCall]:
        """The upstream jobs that were ever seen for the job."""
        async with self.ctx.db.worker() as session:
            return (await session.scalars(select(UpstreamCall).where(UpstreamCall.job_id == job_id))).all()

    async def messages(self, job_id: str, level: str | None = None) -> list[str]:
        """The messages of the job's events, in order."""
        async with self.ctx.db.worker() as session:
            events = (
                await session.scalars(select(JobEvent).where(JobEvent.job_id == job_id).order_by(JobEvent.sequence))
            ).all()
        return [event.message for event in events if level in (None, event.level)]

    async def webhooks(self, job_id: str) -> list[str]:
        """The types of the webhook events about the job, in order."""
        async with self.ctx.db.worker() as session:
            types = select(WebhookEvent.type).where(WebhookEvent.subject == job_id).order_by(WebhookEvent.id)
            return [type.removeprefix("fine_tuning.job.") for type in await session.scalars(types)]

    async def states(self, job_id: str) -> list[str]:
        """The states that the job went through."""
        async with self.ctx.db.worker() as session:
            rows = select(JobState.state).where(JobState.job_id == job_id).order_by(JobState.sequence)
            return list(await session.scalars(rows))

    async def entries(self, job_id: str) -> list[str]:
        """The kinds of the job's ledger entries."""
        async with self.ctx.db.worker() as session:
            rows = select(LedgerEntry.kind).where(LedgerEntry.subject == job_id).order_by(LedgerEntry.created_at)
            return list(await session.scalars(rows))

    async def balance(self) -> Balance:
        """The project's balance, after checking that it is the sum of its entries."""
        async with self.ctx.db.worker() as session:
            balance = (await session.scalars(select(Balance).where(Balance.project_id == self.project_id))).one()
            entries = (
                await session.scalars(select(LedgerEntry).where(LedgerEntry.project_id == self.project_id))
            ).all()
        reserved = [entry.reserved_micros * (1 if entry.kind == "reserve" else -1) for entry in entries]
        assert balance.reserved_micros == sum(reserved)
        assert balance.spent_micros == sum(entry.spent_micros for entry in entries)
        assert balance.overage_micros == sum(entry.overage_micros for entry in entries)
        return balance

    async def result_files(self) -> list[str]:
        """The ids of the result files."""
        async with self.ctx.db.worker() as session:
            return list(await session.scalars(select(File.id).where(File.purpose == "fine-tune-results")))

    async def assert_succeeded_once(self, job_id: str) -> Job:
        """Everything that exactly once means for a job that has succeeded."""
        job = await self.job(job_id)
        assert job.state == "succeeded", f"{job.state}: {job.waiting_reason} {job.error_message}"
        assert [each["id"] for each in self.upstream.alive(job_id)] == [job.upstream_job_id]
        assert job.result_file_ids == await self.result_files()
        assert len(job.result_file_ids) == 1
        await self.assert_ended_once(job_id, entries=["reserve", "post"])
        assert (await self.webhooks(job_id)) == ["created", "running", "succeeded"]
        return job

    async def assert_ended_once(self, job_id: str, *, entries: list[str]) -> None:
        """One line of the timeline for each state, one end, one resolution of the money, nothing left reserved."""
        job = await self.job(job_id)
        assert job.state in ENDED
        assert (job.due_at, job.leased_until) == (None, None)
        states = await self.states(job_id)
        assert max(Counter(states).values()) == 1, states
        assert [state for state in states if state in ENDED] == [job.state]
        assert (await self.webhooks(job_id)).count(job.state) == 1
        assert await self.entries(job_id) == entries
        assert (await self.balance()).reserved_micros == 0


async def eventually(condition: Callable[[], object], *, about: str = "") -> None:
    """Wait until the condition holds. Raises `AssertionError` after a generous time."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, about or "it does not come about"
        await asyncio.sleep(0.02)


@asynccontextmanager
async def working(harness: WorkerHarness) -> AsyncIterator[None]:
    """A worker in this process, as `workers.main` runs it."""
    dispatcher = dispatcher_of(harness.ctx)
    task = asyncio.create_task(dispatcher.run())
    try:
        yield
    finally:
        await dispatcher.stop(10)
        await task


async def ended(harness: WorkerHarness, *job_ids: str) -> None:
    """Wait until the jobs have ended."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    for job_id in job_ids:
        while True:
            job = await harness.job(job_id)
            if job.state in ENDED:
                break
            assert time.monotonic() < deadline, f"{job_id} stays {job.state}: {job.waiting_reason}"
            await asyncio.sleep(0.05)


@dataclass(frozen=True, slots=True)
class Processes:
    """The processes of a worker's context, which start when they are first needed."""

    datasets: DatasetProcesses
    evaluator: Evaluator

    @classmethod
    def from_settings(cls, settings: Settings) -> "Processes":
        """One of each kind."""
        datasets = DatasetProcesses(
            processes=1,
            memory_bytes=settings.dataset_memory_bytes,
            storage_url=settings.storage_url,
            models_file=settings.models_file,
        )
        return cls(datasets, Evaluator.from_settings(settings))

    async def close(self) -> None:
        """End them."""
        await self.evaluator.close()
        await self.datasets.close()


@asynccontextmanager
async def open_context(settings: Settings, shared: Processes | None = None) -> AsyncIterator[Context]:
    """A worker's context of real parts, without the warm validator that a worker starts with.

    `shared` processes are those of several contexts of one event loop; by default the context has its own.
    """
    processes = shared or Processes.from_settings(settings)
    db = Database(
        create_engine(settings.database_url, pool_size=settings.database_pool_size), Wakeups(settings.redis_url)
    )
    async with db.admin() as session:
        instance = (await session.scalars(select(Gateway.instance))).one()
        await ensure_default_account(session, settings)
    accounts = Accounts(settings, db, sealer_of(settings), UPSTREAMS)
    ledger_batcher = LedgerBatcher(db, lifetime_seconds=settings.inference_timeout_seconds + settings.lease_seconds)
    ctx = Context(
        settings=settings,
        instance=instance,
        db=db,
        storage=Storage(settings.storage_url),
        catalogue=models_file.load(settings.models_file),
        accounts=accounts,
        bulkhead=Bulkhead(settings.worker_concurrency, accounts.is_unavailable),
        sender=Sender.from_settings(settings),
        delivery_batches=DeliveryBatches(db),
        dataset_processes=processes.datasets,
        evaluator=processes.evaluator,
        ledger_batcher=ledger_batcher,
        detached_calls=DetachedCalls(ledger_batcher),
        meter=Meter(db, ledger_batcher, ThreadCounts()),
        rates=RateLimitEnforcer(db, RateLimiter(settings.redis_url), requests_per_minute=settings.requests_per_minute),
        run_calls=call_places(settings),
    )
    try:
        yield ctx
    finally:
        await ctx.detached_calls.close()
        await ctx.ledger_batcher.close()
        await ctx.rates.close()
        if shared is None:
            await processes.close()
        await ctx.accounts.close()
        await ctx.db.close()


@asynccontextmanager
async def open_harness(
    settings: Settings, upstream: FaultyUpstream, *, spend_limit_micros: int | None = None
) -> AsyncIterator[WorkerHarness]:
    """Opens a harness with a project of its own."""
    settings = dataclasses.replace(settings, upstream_base_url=upstream.base_url, upstream_api_key="sk-upstream")
    async with open_context(settings) as ctx:
        project_id = new_id("proj_")
        async with ctx.db.admin() as session:
            session.add(Project(id=project_id, name="project", spend_limit_micros=spend_limit_micros))
        yield WorkerHarness(ctx, upstream, project_id)
