"""Queries cost as much in a large project, and beside one, as in a small one: the pages that they touch."""

import datetime as dt
from collections.abc import AsyncIterator, Iterator
from functools import partial
from typing import Any

import asyncpg
import pytest
from sqlalchemy import func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from cli.embedded import SERVICE, SUPERUSER
from service.billing import actions as billing
from service.billing.balances import month_of
from service.database.engine import Database, create_engine
from service.database.fair_claims import FREE, longest_due
from service.database.tables import Job, JobMetadataPair
from service.datasets.files.queries import read_files
from service.datasets.files.schemas import ListFiles
from service.jobs.listing import list_jobs
from service.jobs.queries import EVENTS, count_queued, read_job
from service.jobs.schemas import ListJobs
from service.models.queries import read_model
from service.monitoring.readiness import heartbeat_and_oldest_due
from service.wakeups import Wakeups
from service.webhooks.queries import list_deliveries, list_events
from service.webhooks.schemas import ListDeliveries, ListEvents
from tests import many_rows
from tests.many_rows import MODEL, NEIGHBOUR, PROJECT, file_id, job_id, model_name
from tests.plans import Query, plans_of, rolled_back
from tests.stack import Servers, run_async

ROWS = 3_000
NOW = dt.datetime.now(dt.UTC)
MAX_PAGES = 25
"""The jobs alone have more than two hundred pages."""


@pytest.fixture(scope="module")
def url(servers: Servers) -> Iterator[str]:
    """A database with many rows of a project, and a few of its neighbour."""
    with servers.fresh_database() as name:
        run_async(_fill(servers.postgres.url(SUPERUSER, name)))
        yield servers.postgres.url(SERVICE, name)


@pytest.fixture
async def db(url: str) -> AsyncIterator[Database]:
    database = Database(create_engine(url, pool_size=1), Wakeups(""))
    yield database
    await database.close()


async def _fill(url: str) -> None:
    superuser = await asyncpg.connect(url)  # type: ignore[no-untyped-call]
    for project, rows in ((NEIGHBOUR, 10), (PROJECT, ROWS)):
        await many_rows.prepare(superuser, project)
        await many_rows.seed(superuser, project, first=1, last=rows)
    await superuser.execute("VACUUM (ANALYZE)")
    await superuser.close()


def reads(project: str, rows: int) -> dict[str, tuple[str, Query, str]]:
    """What callers of a project with so many rows read: the kind of transaction, the function, and its index."""
    old, newest = job_id(project, 5), job_id(project, rows)
    of_job = EVENTS.page
    deliveries = f"{many_rows.ENDPOINT}-{project}"

    def listed(metadata: dict[str, str] | str | None, after: str | None = None) -> Query:
        return lambda session: list_jobs(session, project, ListJobs(after=after), now=NOW, metadata=metadata)

    def ended(**query: Any) -> Query:
        return lambda session: list_jobs(session, project, ListJobs(**{"status": "succeeded", **query}), now=NOW)

    return {
        "a job": ("read", lambda r: read_job(r, project, job_id(project, rows // 2)), "jobs"),
        "the first jobs": ("project", listed(None), "ix_jobs_project"),
        "the last jobs": ("project", listed(None, old), "ix_jobs_project"),
        "a pair of one old job": ("project", listed({"run": "1"}), "pk_job_metadata_pairs"),
        "a pair of no job": ("project", listed({"run": "none"}), "pk_job_metadata_pairs"),
        "a pair of no job after a cursor": ("project", listed({"run": "none"}, newest), "pk_job_metadata_pairs"),
        "a common and a rare pair": ("project", listed({"team": "t1", "run": "1"}), "pk_job_metadata_pairs"),
        "jobs without metadata": ("project", listed("null"), "ix_jobs_without_metadata"),
        "ended jobs by cost": ("project", ended(sort="cost"), "ix_jobs_ended_cost_micros"),
        "the last ended jobs by cost": ("project", ended(sort="cost", after=old), "ix_jobs_ended_cost_micros"),
        "the first ended jobs by tokens": (
            "project",
            ended(sort="trained_tokens", order="asc", after=newest),
            "ix_jobs_ended_trained_tokens",
        ),
        "ended jobs by a loss that none has": ("project", ended(sort="train_loss"), "ix_jobs_ended_train_loss"),
        "ended jobs by a loss that none has, after a cursor": (
            "project",
            ended(sort="best_valid_loss", after=newest),
            "ix_jobs_ended_best_valid_loss",
        ),
        "jobs of a status that none has": ("project", ended(status="failed"), "ix_jobs_ended_state"),
        "ended jobs of a model that none has": ("project", ended(model="none"), "ix_jobs_ended_model"),
        "ended jobs of a file": ("project", ended(training_file=file_id(project, 1)), "ix_jobs_training_file"),
        "queued jobs": ("project", lambda s: count_queued(s, project), "ix_jobs_unfinished"),
        "files": (
            "read",
            lambda r: read_files(r, project, ListFiles(limit=20, after=file_id(project, 5))),
            "files",
        ),
        "files of a purpose": (
            "read",
            lambda r: read_files(r, project, ListFiles(limit=20, purpose="batch")),
            "ix_files_purpose",
        ),
        "a model": ("read", lambda r: read_model(r, project, model_name(project, rows)), "pk_models"),
        "the first events": (
            "project",
            lambda s: of_job(s, project, job_id(project, 1), after=None, limit=20),
            "uq_job_events_job_id_sequence",
        ),
        "the last events": (
            "project",
            lambda s: of_job(s, project, job_id(project, 1), after=f"ftevent-{project}-5", limit=20),
            "uq_job_events_job_id_sequence",
        ),
        "deliveries": (
            "project",
            lambda s: list_deliveries(s, project, deliveries, ListDeliveries(limit=20)),
            "ix_webhook_deliveries_endpoint",
        ),
        "webhook events": (
            "project",
            lambda s: list_events(s, project, ListEvents(limit=20)),
            "ix_webhook_events_position",
        ),
    }


@pytest.mark.parametrize("name", reads(PROJECT, ROWS))
@pytest.mark.parametrize("generic", [False, True], ids=["planned for its values", "planned for any values"])
@pytest.mark.parametrize(("project", "rows"), [(PROJECT, ROWS), (NEIGHBOUR, 10)], ids=["large", "its neighbour"])
async def test_a_read_touches_few_pages(db: Database, name: str, project: str, rows: int, generic: bool) -> None:
    kind, query, index = reads(project, rows)[name]
    plans = await plans_of(db, partial(getattr(db, kind), project), query, generic=generic)
    shown = "\n".join(map(str, plans))
    assert sum(plan.buffers for plan in plans) <= MAX_PAGES, shown
    if project == PROJECT:
        assert any(index in read for plan in plans for read in plan.reads), shown


async def test_claims_read_a_few_rows_of_each_project(db: Database) -> None:
    query = longest_due(Job)
    plans = await plans_of(db, db.claims, lambda session: session.execute(query, {FREE.key: 64}))
    assert sum(plan.buffers for plan in plans) <= 3 * MAX_PAGES, "\n".join(map(str, plans))


async def test_readiness_reads_a_few_rows_of_each_kind_of_work(db: Database) -> None:
    plans = await plans_of(db, db.worker, lambda session: session.execute(heartbeat_and_oldest_due()))
    assert sum(plan.buffers for plan in plans) <= MAX_PAGES, "\n".join(map(str, plans))


async def test_money_of_a_call_is_reserved_and_posted_in_a_few_pages(db: Database) -> None:
    async def reserve_and_post(session: AsyncSession) -> None:
        month = month_of(dt.datetime.now(dt.UTC))
        await billing.reserve(
            session, project_id=PROJECT, subject="call-new", line_item="inference", amount_micros=5, month=month
        )
        assert await billing.settle(session, subject="call-new", actual_micros=3, quantity=30) == 3

    plans = await plans_of(db, db.worker, reserve_and_post)
    assert sum(plan.buffers for plan in plans) <= 4 * MAX_PAGES, "\n".join(map(str, plans))


async def test_pairs_follow_a_jobs_metadata(db: Database) -> None:
    """Seeding bypasses the triggers; a created, changed and redacted job does not."""

    async def pairs(session: AsyncSession) -> int:
        counted = select(func.count()).select_from(JobMetadataPair).where(JobMetadataPair.job_id == "ftjob-new")
        return await session.scalar(counted) or 0

    async def steps(session: AsyncSession) -> None:
        job = {
            "id": "ftjob-new", "project_id": PROJECT, "state": "validating", "model": MODEL, "seed": 1, "method": {},
            "training_file_id": file_id(PROJECT, 1),
        }  # fmt: skip
        await session.execute(insert(Job).values(**job, caller_metadata={"a": "\N{SNOWMAN}", "b": "2"}))
        assert await pairs(session) == 2
        for metadata, count in (({"a": "1"}, 1), (None, 0), ({"c": "3"}, 1)):
            await session.execute(update(Job).where(Job.id == "ftjob-new").values(caller_metadata=metadata))
            assert await pairs(session) == count
        found = await list_jobs(session, PROJECT, ListJobs(), now=NOW, metadata={"c": "3"})
        assert [row.id for row in found.rows] == ["ftjob-new"]
        await session.execute(update(Job).where(Job.id == "ftjob-new").values(caller_metadata={"a": "\N{SNOWMAN}"}))
        found = await list_jobs(session, PROJECT, ListJobs(), now=NOW, metadata={"a": "\N{SNOWMAN}"})
        assert [row.id for row in found.rows] == ["ftjob-new"]

    await rolled_back(partial(db.project, PROJECT), steps)


async def test_pairs_with_separators_in_keys_and_values_differ(db: Database) -> None:
    """A pair's digest does not depend on where its key ends."""
    alike = {"a": "b\x1fc", "a\x1fb": "c"}

    async def steps(session: AsyncSession) -> None:
        job = {
            "id": "ftjob-new", "project_id": PROJECT, "state": "validating", "model": MODEL, "seed": 1, "method": {},
            "training_file_id": file_id(PROJECT, 1),
        }  # fmt: skip
        await session.execute(insert(Job).values(**job, caller_metadata=alike))
        for key, value in alike.items():
            await session.execute(update(Job).where(Job.id == "ftjob-new").values(caller_metadata={key: value}))
            for other_key, other in alike.items():
                found = await list_jobs(session, PROJECT, ListJobs(), now=NOW, metadata={other_key: other})
                assert [row.id for row in found.rows] == ["ftjob-new"] * (other_key == key)

    await rolled_back(partial(db.project, PROJECT), steps)
