"""Retention, expiry and pruning: what goes by itself, and what stays."""

import datetime as dt
from typing import Any

from sqlalchemy import func, select, update

from service.database.tables import (
    AuditLog,
    Base,
    File,
    Job,
    JobEvent,
    JobMetric,
    JobState,
    LedgerEntry,
    Quote,
    RememberedRequest,
    WebhookAttempt,
    WebhookDelivery,
    WebhookEndpoint,
    WebhookEvent,
)
from service.ids import new_id
from tests.deletions.factories import carry_out_all, file_row, set_project, trained
from tests.deletions.served import served
from tests.wire import refusal
from tests.workers.harness import WorkerHarness
from workers.maintenance import pruning, retention


async def age(harness: WorkerHarness, table: Any, days: float, *, column: str = "created_at", **where: Any) -> None:
    """Make rows so many days old."""
    then = func.now() - dt.timedelta(days=days)
    async with harness.ctx.db.worker() as session:
        statement = update(table).values({column: then})
        for name, value in where.items():
            statement = statement.where(getattr(table, name) == value)
        await session.execute(statement)


async def count(harness: WorkerHarness, table: type[Base]) -> int:
    async with harness.ctx.db.worker() as session:
        return await session.scalar(select(func.count()).select_from(table)) or 0


async def gone(harness: WorkerHarness, *file_ids: str, batch: int = retention.BATCH) -> list[bool]:
    """Which of the files one round removes."""
    await retention.remove_expired_files(harness.ctx, batch=batch)
    return [(await file_row(harness, file_id)).deleted_at is not None for file_id in file_ids]


class TestRetention:
    async def test_counts_from_the_last_use_by_a_job(self, harness: WorkerHarness) -> None:
        await set_project(harness, retention_days=30)
        unused, fresh, used, in_use = [await harness.new_file("\n" * number) for number in range(4)]
        job = await trained(harness, training=used)
        harness.upstream.steps("running")
        live = await harness.new_job(training=in_use)
        for file_id in (unused, used, in_use):
            await age(harness, File, 31, id=file_id)
        await age(harness, File, 29, id=fresh)
        assert await gone(harness, unused, fresh, used, in_use) == [True, False, False, False]
        await age(harness, Job, 31, column="finished_at", id=job.id)
        (result,) = job.result_file_ids
        await age(harness, File, 31, id=result)
        assert await gone(harness, used, result, in_use) == [True, True, False]
        await carry_out_all(harness)
        assert harness.upstream.files() == []
        assert (await harness.job(live)).finished_at is None
        async with harness.ctx.db.worker() as session:
            entries = (await session.scalars(select(AuditLog).where(AuditLog.type == "resource.deleted"))).all()
        assert {(entry.actor, entry.detail["reason"]) for entry in entries} == {("system", "retention")}
        assert {entry.resource_id for entry in entries} == {unused, used, result}

    async def test_without_one_everything_stays(self, harness: WorkerHarness) -> None:
        file_id = await harness.new_file()
        await age(harness, File, 10_000)
        assert await gone(harness, file_id) == [False]

    async def test_a_file_that_expires_waits_for_its_job(self, harness: WorkerHarness) -> None:
        file_id = await harness.new_file()
        job_id = await harness.new_job(training=file_id)
        await age(harness, File, 1, column="expires_at")
        assert await gone(harness, file_id) == [False]
        await harness.until_end(job_id)
        assert await gone(harness, file_id) == [True]

    async def test_more_than_a_batch(self, harness: WorkerHarness) -> None:
        """Those that are needed do not keep the others waiting."""
        await set_project(harness, retention_days=1)
        needed = [await harness.new_file() for _ in range(3)]
        for file_id in needed:
            await harness.new_job(training=file_id)
        others = [await harness.new_file() for _ in range(5)]
        await age(harness, File, 2)
        assert await gone(harness, *needed, *others, batch=2) == [False] * 3 + [True] * 5

    async def test_is_set_by_administrators(self, harness: WorkerHarness) -> None:
        path = f"/organization/projects/{harness.project_id}/retention"
        async with served(harness, admin=True) as http:
            assert (await http.get(path)).json()["retention_days"] is None
            set_to = (await http.post(path, json={"retention_days": 30})).json()
            assert set_to == (await http.get(path)).json()
            assert set_to["retention_days"] == 30
            assert (await http.post(path, json={"retention_days": None})).json()["retention_days"] is None
            for body in ({"retention_days": 0}, {"retention_days": "30"}, {}, {"days": 1}):
                assert refusal(await http.post(path, json=body))["param"] in ("retention_days", "days")
        async with harness.ctx.db.worker() as session:
            entries = select(func.count()).where(AuditLog.type == "project_retention.updated")
            assert await session.scalar(entries) == 2


class TestPruning:
    async def test_events_and_metrics_of_jobs_that_ended_long_ago(self, harness: WorkerHarness) -> None:
        old, recent = await trained(harness), await trained(harness)
        harness.upstream.steps("running")
        live = await harness.new_job()
        await harness.until(live, "running")
        await age(harness, Job, 91, column="finished_at", id=old.id)
        before = {table: await count(harness, table) for table in (JobMetric, JobState, LedgerEntry)}
        events = len(await harness.messages(old.id))
        assert await pruning.prune(harness.ctx) == {"job_events": events}
        assert await harness.messages(old.id) == []
        assert await harness.messages(recent.id)
        assert await harness.messages(live)
        assert {table: await count(harness, table) for table in before} == before
        await age(harness, Job, 731, column="finished_at", id=old.id)
        gone = await pruning.prune(harness.ctx)
        assert set(gone) == {"job_metrics"}
        assert (await count(harness, JobState), await count(harness, LedgerEntry)) == (
            before[JobState],
            before[LedgerEntry],
        )

    async def test_in_batches(self, harness: WorkerHarness) -> None:
        old = await trained(harness)
        await age(harness, Job, 91, column="finished_at")
        events = len(await harness.messages(old.id))
        assert events > 4
        assert (await pruning.prune(harness.ctx, batch=2, max_batches=2))["job_events"] == 4
        assert len(await harness.messages(old.id)) == events - 4

    async def test_deliveries_with_their_attempts_and_events(self, harness: WorkerHarness) -> None:
        """What is still on its way keeps its event, however old."""
        endpoint = new_id("we_")
        old, waiting = new_id("evt_"), new_id("evt_")
        async with harness.ctx.db.project(harness.project_id) as session:
            session.add(
                WebhookEndpoint(
                    id=endpoint,
                    project_id=harness.project_id,
                    name="a",
                    url="https://example.com/",
                    event_types=[],
                    secret_encrypted=b"s",
                    secret_hint="s",
                )
            )
            past = func.now() - dt.timedelta(days=31)
            for event in (old, waiting):
                session.add(
                    WebhookEvent(
                        id=event, project_id=harness.project_id, type="t", subject="s", body=b"{}", created_at=past
                    )
                )
            await session.flush()
            for event, status in ((old, "failed"), (waiting, "pending")):
                session.add(
                    WebhookDelivery(
                        id=f"whd_{event}",
                        project_id=harness.project_id,
                        endpoint_id=endpoint,
                        event_id=event,
                        status=status,
                        created_at=past,
                        due_at=func.now() if status == "pending" else None,
                    )
                )
            await session.flush()
            session.add(
                WebhookAttempt(
                    delivery_id=f"whd_{old}",
                    attempt=1,
                    project_id=harness.project_id,
                    started_at=past,
                    latency_ms=1,
                )
            )
        gone = await pruning.prune(harness.ctx)
        assert gone == {"webhook_attempts": 1, "webhook_deliveries": 1, "webhook_events": 1}
        async with harness.ctx.db.worker() as session:
            assert (await session.scalars(select(WebhookEvent.id))).all() == [waiting]

    async def test_secrets_that_sign_no_longer(self, harness: WorkerHarness) -> None:
        rotated, deleted, kept = (new_id("we_") for _ in range(3))
        past, future = (func.now() + dt.timedelta(hours=hours) for hours in (-1, 1))
        async with harness.ctx.db.project(harness.project_id) as session:
            for endpoint, values in (
                (rotated, {"old_secret_expires_at": past}),
                (deleted, {"deleted_at": past, "old_secret_expires_at": future}),
                (kept, {"old_secret_expires_at": future}),
            ):
                session.add(
                    WebhookEndpoint(
                        id=endpoint,
                        project_id=harness.project_id,
                        name="a",
                        url="https://example.com/",
                        event_types=[],
                        secret_encrypted=b"new",
                        old_secret_encrypted=b"old",
                        secret_hint="s",
                        **values,
                    )
                )
        await pruning.prune(harness.ctx)
        async with harness.ctx.db.worker() as session:
            rows = [await session.get_one(WebhookEndpoint, endpoint) for endpoint in (rotated, deleted, kept)]
        assert [row.old_secret_encrypted for row in rows] == [None, None, b"old"]
        assert [row.secret_encrypted for row in rows] == [b"new", b"", b"new"]
        await age(harness, WebhookEndpoint, 31, column="deleted_at", id=deleted)
        assert await pruning.prune(harness.ctx) == {"webhook_endpoints": 1}

    async def test_quotes_that_bound_no_job_and_remembered_requests(self, harness: WorkerHarness) -> None:
        job_id = await harness.new_job()
        free, bound = new_id("quote_"), new_id("quote_")
        async with harness.ctx.db.project(harness.project_id) as session:
            for quote in (free, bound):
                session.add(
                    Quote(
                        id=quote,
                        project_id=harness.project_id,
                        request={},
                        n_epochs=1,
                        billable_tokens=1,
                        price_micros_per_million=1,
                        low_micros=1,
                        expected_micros=1,
                        upper_micros=1,
                        expires_at=func.now() - dt.timedelta(days=31),
                    )
                )
            session.add(
                RememberedRequest(
                    id=new_id("req_"),
                    project_id=harness.project_id,
                    key_id="k",
                    route="r",
                    idempotency_key="k",
                    body_sha256=b"",
                    response=b"",
                    created_at=func.now() - dt.timedelta(hours=25),
                )
            )
        await harness.set_job(job_id, quote_id=bound)
        assert await pruning.prune(harness.ctx) == {"quotes": 1, "remembered_requests": 1}


async def test_what_is_append_only_is_removed_by_workers_alone(harness: WorkerHarness) -> None:
    await trained(harness)
    for table in (JobState, WebhookEvent):
        rows = await count(harness, table)
        assert rows
        async with harness.ctx.db.project(harness.project_id) as session:
            await session.execute(table.__table__.delete())  # type: ignore[attr-defined]
        async with harness.ctx.db.admin() as session:
            await session.execute(table.__table__.delete())  # type: ignore[attr-defined]
        assert await count(harness, table) == rows


async def test_events_stay_while_a_job_lives(harness: WorkerHarness) -> None:
    job_id = await harness.new_job()
    await age(harness, JobEvent, 1000)
    assert await pruning.prune(harness.ctx) == {}
    assert await harness.messages(job_id)
