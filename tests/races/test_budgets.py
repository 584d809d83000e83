"""Budgets under contention over several processes and several projects: as much is granted as there is room for."""

import asyncio
import dataclasses
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager

import httpx2
import pytest
from sqlalchemy import func, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from service.billing import actions as billing
from service.billing import alert_queries, limits
from service.billing.abandoned_reservations import resolve_abandoned_reservations
from service.billing.audit import ledger_snapshot, prove
from service.billing.balances import month_of
from service.database.engine import Database, create_engine, project_connections
from service.database.tables import Balance, LedgerEntry, OpenInference, OrganizationBalance, Project, WebhookEvent
from service.ids import new_id
from service.settings import Settings
from service.wakeups import Wakeups
from tests.inference.completions_upstream import Answering, answering
from tests.races.test_reservations import AMOUNT, MONTH, naive
from tests.stack import ROOT
from tests.wire import Tenant, chat_rows, jsonl, make_tenant
from tests.workers.harness import WorkerHarness

PROCESSES, ROOM, CALLERS = 3, 5, 24
START_SECONDS = 120.0


@pytest.fixture
def answers() -> Iterator[Answering]:
    """The upstream."""
    with answering() as running:
        yield running


@contextmanager
def serving(
    settings: Settings, count: int, **environ: str
) -> Iterator[tuple[list[str], list[subprocess.Popen[bytes]]]]:
    """So many API processes on one database: their base URLs, and themselves."""
    given = {
        "DATABASE_URL": settings.database_url,
        "OPENAI_BASE_URL": settings.upstream_base_url,
        "OPENAI_API_KEY": settings.upstream_api_key,
        "TUNEGATE_MASTER_KEY": settings.master_key,
        "TUNEGATE_STORAGE_URL": settings.storage_url,
        "TUNEGATE_DATABASE_POOL_SIZE": "10",
        "TUNEGATE_ENVIRONMENT": "dev",
        "TUNEGATE_LOG_LEVEL": "error",
    }
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "cli", "serve", "--fd", str(each.fileno())],
            cwd=ROOT,
            env={**os.environ, **given},
            pass_fds=[each.fileno()],
        )
        for each in sockets
    ]
    try:
        urls = [f"http://127.0.0.1:{each.getsockname()[1]}/v1" for each in sockets]
        for each in sockets:
            each.close()
        for url in urls:
            _wait_for(url)
        yield urls, running
    finally:
        for process in running:
            process.send_signal(signal.SIGTERM)
        for process in running:
            process.wait(START_SECONDS)


def _wait_for(url: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            httpx2.get(url.removesuffix("/v1") + "/livez", timeout=2)
            return
        except httpx2.HTTPError:
            assert time.monotonic() < deadline, "the API does not start"
            time.sleep(0.1)


@pytest.fixture
async def db(settings: Settings) -> AsyncIterator[Database]:
    """The database, seen by the test."""
    opened = Database(create_engine(settings.database_url, pool_size=5), Wakeups(""))
    yield opened
    await opened.close()


async def statuses(
    urls: Sequence[str], tenants: Sequence[Tenant], path: str, body: dict[str, object], seen: Counter[int] | None = None
) -> Counter[int]:
    """The statuses of concurrent calls over all processes and projects; `seen` counts them as they arrive.

    Jobs differ in their metadata: equal creating requests would wait for each other and not race for the budget.
    """
    answers: Counter[int] = Counter() if seen is None else seen

    async def call(number: int) -> None:
        url, tenant = urls[number % len(urls)], tenants[number // len(urls) % len(tenants)]
        headers = {"authorization": f"Bearer {tenant.key}"}
        async with httpx2.AsyncClient(base_url=url, headers=headers, timeout=60) as http:
            own = {**body, "metadata": {"caller": str(number)}} if path == "/fine_tuning/jobs" else body
            while (status := (await http.post(path, json=own)).status_code) == 503:
                await asyncio.sleep(0.2)  # the machine is busy; it says so and means nothing else
            answers[status] += 1

    await asyncio.gather(*(call(number) for number in range(CALLERS)))
    return answers


async def held(urls: Sequence[str], tenants: Sequence[Tenant], body: dict[str, object], answers: Answering) -> int:
    """How many of so many calls at once are let in, when none of those ends before all others are refused."""
    seen: Counter[int] = Counter()
    answers.let_go.clear()
    asking = asyncio.create_task(statuses(urls, tenants, "/chat/completions", {**body, "stream": True}, seen))
    deadline = time.monotonic() + START_SECONDS
    while seen.total() < CALLERS - ROOM and time.monotonic() < deadline:
        await asyncio.sleep(0.05)
    answers.let_go.set()
    await asking
    assert set(seen) <= {200, 429}, seen
    return seen[200]


async def limit_project(db: Database, project_id: str, micros: int | None) -> None:
    """Set a project's limit."""
    async with db.admin() as session:
        await session.execute(update(Project).where(Project.id == project_id).values(spend_limit_micros=micros))


async def reserved(db: Database, project_ids: Sequence[str]) -> int:
    """What projects have reserved in this month."""
    async with db.worker() as session:
        total = await session.scalar(
            select(func.sum(Balance.reserved_micros)).where(Balance.project_id.in_(project_ids))
        )
    return int(total or 0)


async def the_books_balance(settings: Settings) -> None:
    """As `tunegate audit` says."""
    async with ledger_snapshot(settings.database_url) as session:
        proof = await prove(session)
    assert proof.consistent, [finding for finding in proof.findings if finding.drifts]


@pytest.mark.timeout(240)
class TestProcesses:
    """Several API processes, one budget."""

    async def test_exactly_as_many_jobs_and_calls_are_granted_as_there_is_room_for(
        self, settings: Settings, db: Database, answers: Answering
    ) -> None:
        settings = dataclasses.replace(settings, upstream_base_url=answers.base_url, upstream_api_key="x")
        ask = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "slow usage=1,1"}], "max_tokens": 50}
        with serving(settings, PROCESSES) as (urls, _):
            tenants = [await make_tenant(urls[0], settings.database_url) for _ in range(3)]
            one, *shared = tenants

            amount = await self.amount_of(db, urls[0], one, ask)
            await limit_project(db, one.project_id, await self.in_use(db, one) + ROOM * amount + amount - 1)
            assert await held(urls, [one], ask, answers) == ROOM

            async with db.admin() as session:
                month = month_of((await session.execute(select(func.now()))).scalar_one())
                await limits.start_organization_balances(session)
                used = await session.get_one(OrganizationBalance, month)
                before = used.reserved_micros + used.spent_micros + used.overage_micros
                await limits.set_organization_limit(session, before + ROOM * amount + amount - 1)
            assert await held(urls, shared, ask, answers) == ROOM, "the organisation's limit holds over projects"
            await self.jobs_too(settings, db, urls, shared[0])
        await the_books_balance(settings)

    async def jobs_too(self, settings: Settings, db: Database, urls: list[str], tenant: Tenant) -> None:
        """The same by jobs, whose report is there."""
        from tests.workers.harness import MODEL

        async with db.admin() as session:
            await limits.remove_organization_limit(session)
        headers = {"authorization": f"Bearer {tenant.key}"}
        async with httpx2.AsyncClient(base_url=urls[0], headers=headers, timeout=60) as http:
            files = {"file": ("a.jsonl", jsonl(chat_rows(12)))}
            file = (await http.post("/files", data={"purpose": "fine-tune"}, files=files)).json()["id"]
        await self.report(db, file)
        wanted: dict[str, object] = {"model": MODEL, "training_file": file}
        spent = await self.in_use(db, tenant)
        assert await statuses(urls[:1], [tenant], "/fine_tuning/jobs", wanted) == {200: CALLERS}
        amount, left = divmod(await reserved(db, [tenant.project_id]), CALLERS)
        assert left == 0
        await limit_project(db, tenant.project_id, spent + CALLERS * amount + ROOM * amount + amount - 1)
        assert await statuses(urls, [tenant], "/fine_tuning/jobs", wanted) == {200: ROOM, 429: CALLERS - ROOM}
        assert await reserved(db, [tenant.project_id]) == (CALLERS + ROOM) * amount

    async def report(self, db: Database, file_id: str) -> None:
        """Stand in for the worker that makes the report."""
        import msgspec

        from service.database.tables import File, FileReport
        from service.datasets.report_schema import FileReport as Report

        async with db.worker() as session:
            row = (await session.scalars(select(FileReport).where(FileReport.file_id == file_id))).one()
            report = Report(
                file_id=file_id,
                status="ready",
                progress=1.0,
                model=row.model,
                max_tokens=row.max_tokens,
                format="chat",
                examples=12,
                billable_tokens_per_epoch=1000,
            )
            row.status, row.report, row.due_at = "ready", msgspec.to_builtins(report), None
            await session.execute(update(File).where(File.id == file_id).values(status="processed"))

    async def amount_of(self, db: Database, url: str, tenant: Tenant, body: dict[str, object]) -> int:
        """What one such call reserves."""
        await statuses([url], [tenant], "/chat/completions", body)
        async with db.worker() as session:
            amounts = await session.scalars(
                select(LedgerEntry.reserved_micros).where(
                    LedgerEntry.project_id == tenant.project_id, LedgerEntry.kind == "reserve"
                )
            )
            [amount] = set(amounts)
        return int(amount)

    async def spent(self, db: Database, tenants: Sequence[Tenant]) -> int:
        """What projects have spent."""
        async with db.worker() as session:
            ids = [tenant.project_id for tenant in tenants]
            total = await session.scalar(select(func.sum(Balance.spent_micros)).where(Balance.project_id.in_(ids)))
        return int(total or 0)

    async def in_use(self, db: Database, tenant: Tenant) -> int:
        """What a project has spent and reserved."""
        return await self.spent(db, [tenant]) + await reserved(db, [tenant.project_id])


@pytest.mark.timeout(180)
async def test_after_kill_9_the_books_balance_and_nothing_stays_reserved(
    settings: Settings, db: Database, answers: Answering
) -> None:
    """Processes die while calls are under way; their reservations are posted by the process that finds them."""
    settings = dataclasses.replace(settings, upstream_base_url=answers.base_url, upstream_api_key="x")
    body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "slow"}], "max_tokens": 5, "stream": True}
    with serving(settings, 2) as (urls, running):
        tenant = await make_tenant(urls[0], settings.database_url)

        async def ask(url: str) -> None:
            headers = {"authorization": f"Bearer {tenant.key}"}
            async with httpx2.AsyncClient(base_url=url, headers=headers, timeout=90) as http:
                while (await http.post("/chat/completions", json=body)).status_code == 503:
                    await asyncio.sleep(0.2)  # the machine is busy; it says so and means nothing else

        asking = [asyncio.create_task(ask(urls[number % 2])) for number in range(10)]
        while len(answers.asked) < 10:
            await asyncio.sleep(0.05)
        for process in running:
            process.send_signal(signal.SIGKILL)
        outcomes = await asyncio.gather(*asking, return_exceptions=True)
        assert all(isinstance(each, httpx2.HTTPError) for each in outcomes)
    await the_books_balance(settings)
    due = await reserved(db, [tenant.project_id])
    assert due > 0
    async with db.worker() as session:
        await session.execute(update(OpenInference).values(expires_at=func.now()))
    assert await resolve_abandoned_reservations(db) == 10
    await the_books_balance(settings)
    assert await reserved(db, [tenant.project_id]) == 0
    async with db.worker() as session:
        assert await session.scalar(select(func.sum(Balance.spent_micros))) == due


class TestOrganisation:
    """One limit over many projects."""

    async def projects(self, harness: WorkerHarness, count: int) -> list[str]:
        """Projects without limits of their own."""
        ids = [new_id("proj_") for _ in range(count)]
        async with harness.ctx.db.admin() as session:
            session.add_all([Project(id=each, name=each) for each in ids])
        return ids

    async def reserve_all(self, harness: WorkerHarness, ids: list[str]) -> int:
        """Ten reservations in each project, all at once: how many are granted."""

        async def call(project_id: str) -> bool:
            async with harness.ctx.db.project(project_id) as session:
                return await billing.reserve(
                    session,
                    project_id=project_id,
                    subject=new_id("call-"),
                    line_item="x",
                    amount_micros=AMOUNT,
                    month=MONTH,
                )

        return sum(await asyncio.gather(*(call(each) for each in ids * 10)))

    async def organisation(self, session: AsyncSession) -> int:
        """What its balance has reserved."""
        return (await session.get_one(OrganizationBalance, MONTH, populate_existing=True)).reserved_micros

    async def test_is_never_exceeded_by_any_caller(self, harness: WorkerHarness) -> None:
        ids = await self.projects(harness, 6)
        async with harness.ctx.db.admin() as session:
            await limits.set_organization_limit(session, 17 * AMOUNT + AMOUNT - 1)
        assert await self.reserve_all(harness, ids) == 17
        async with harness.ctx.db.worker() as session:
            assert await self.organisation(session) == 17 * AMOUNT

    async def test_a_limit_that_is_set_amid_movements_counts_them_all(self, harness: WorkerHarness) -> None:
        """The sums begin exact: no movement falls between adding up and keeping."""
        ids = await self.projects(harness, 4)
        for _ in range(3):
            moving = asyncio.create_task(self.reserve_all(harness, ids))
            await asyncio.sleep(0.02)
            async with harness.ctx.db.admin() as session:
                await limits.set_organization_limit(session, 10**12)
            await moving
            async with harness.ctx.db.worker() as session:
                total = await session.scalar(select(func.sum(Balance.reserved_micros)))
                assert await self.organisation(session) == total
            async with harness.ctx.db.admin() as session:
                await limits.remove_organization_limit(session)

    async def test_control_without_the_lock_a_movement_falls_between(
        self, harness: WorkerHarness, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        [project_id] = await self.projects(harness, 1)
        locked = limits.lock_all_balances

        async def none(session: AsyncSession) -> None:
            return None

        for stop, drifts in ((none, True), (locked, False)):
            monkeypatch.setattr(limits, "lock_all_balances", stop)
            async with harness.ctx.db.project(project_id) as moving:
                assert await billing.reserve(
                    moving,
                    project_id=project_id,
                    subject=new_id("call-"),
                    line_item="x",
                    amount_micros=AMOUNT,
                    month=MONTH,
                )
                setting = asyncio.create_task(self.set_limit(harness))
                await asyncio.wait([setting], timeout=60.0 if drifts else 1.0)
            await setting
            async with harness.ctx.db.worker() as session:
                total = await session.scalar(select(func.sum(Balance.reserved_micros)))
                kept = await session.scalar(select(OrganizationBalance.reserved_micros))
            assert ((kept or 0) != total) == drifts
            monkeypatch.setattr(limits, "lock_all_balances", locked)
            async with harness.ctx.db.admin() as session:
                await limits.remove_organization_limit(session)

    async def set_limit(self, harness: WorkerHarness) -> None:
        async with harness.ctx.db.admin() as session:
            await limits.set_organization_limit(session, 10**12)

    async def test_control_a_naive_reservation_grants_more_over_projects(self, harness: WorkerHarness) -> None:
        ids = await self.projects(harness, project_connections(harness.ctx.settings.database_pool_size))
        async with harness.ctx.db.admin() as session:
            await limits.set_organization_limit(session, 2 * AMOUNT)
            session.add_all([Balance(project_id=each, month=MONTH) for each in ids])
        reserve = naive(asyncio.Barrier(len(ids)))

        async def call(project_id: str) -> bool:
            async with harness.ctx.db.project(project_id) as session:
                return await reserve(session, project_id, new_id("call-"))

        assert sum(await asyncio.gather(*(call(each) for each in ids))) == len(ids) > 2


@pytest.mark.parametrize("shared", [False, True], ids=["project", "organisation"])
async def test_postings_that_cross_a_threshold_together_tell_once(harness: WorkerHarness, shared: bool) -> None:
    """And a higher threshold once more, in the same month."""
    project_id = harness.project_id
    async with harness.ctx.db.admin() as session:
        alert = await alert_queries.create_alert(
            session,
            project_id=None if shared else project_id,
            threshold_micros=3 * AMOUNT,
            recipients=[],
            subject_prefix=None,
        )
        alert_id = alert.id

    async def spend() -> None:
        subject = new_id("call-")
        async with harness.ctx.db.project(project_id) as session:
            assert await billing.reserve(
                session, project_id=project_id, subject=subject, line_item="x", amount_micros=AMOUNT, month=MONTH
            )
        async with harness.ctx.db.project(project_id) as session:
            await billing.settle(session, subject=subject, actual_micros=AMOUNT, quantity=None)

    async def reported() -> int:
        async with harness.ctx.db.worker() as session:
            mine = select(func.count()).select_from(WebhookEvent).where(WebhookEvent.subject == alert_id)
            return int(await session.scalar(mine) or 0)

    await spend()
    assert await reported() == 0
    await asyncio.gather(*(spend() for _ in range(20)))
    assert await reported() == 1
    async with harness.ctx.db.admin() as session:
        row = await alert_queries.get_alert(session, None if shared else project_id, alert_id)
        row.threshold_micros = 22 * AMOUNT
    await asyncio.gather(*(spend() for _ in range(5)))
    assert await reported() == 2


async def test_a_settlement_that_is_rolled_back_tells_nothing(harness: WorkerHarness) -> None:
    """The event is written in the transaction that crosses the threshold."""
    project_id, subject = harness.project_id, new_id("call-")
    async with harness.ctx.db.admin() as session:
        await alert_queries.create_alert(
            session, project_id=project_id, threshold_micros=1, recipients=[], subject_prefix=None
        )
    async with harness.ctx.db.project(project_id) as session:
        await billing.reserve(
            session, project_id=project_id, subject=subject, line_item="x", amount_micros=AMOUNT, month=MONTH
        )
    with pytest.raises(ZeroDivisionError):
        async with harness.ctx.db.project(project_id) as session:
            await billing.settle(session, subject=subject, actual_micros=AMOUNT, quantity=None)
            assert await session.scalar(text("SELECT 1"))
            raise ZeroDivisionError
    async with harness.ctx.db.worker() as session:
        assert (await session.scalars(select(WebhookEvent.subject))).all() == []
    assert (await harness.balance()).reserved_micros == AMOUNT
