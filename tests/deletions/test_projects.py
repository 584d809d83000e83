"""A deleted project: nothing of the customer's data is left, here or upstream, and what it cost is."""

import asyncio
import dataclasses
import json
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from sqlalchemy import select, text, update
from sqlalchemy.ext.asyncio import AsyncEngine

from cli.embedded import SUPERUSER
from service.database.engine import create_engine
from service.database.tables import TENANT_TABLES, AuditLog, Base, Deletion, File, Job, LedgerEntry, Project
from service.datasets.files.actions import NewFile, create_file
from service.deletions.redaction import BY_CASCADE, RETAINED, emptied_tables
from service.errors import InvalidRequest
from service.ids import new_id
from service.settings import Settings
from service.storage import Stored
from service.upstreams.accounts import DEFAULT_ACCOUNT
from tests.deletions.factories import (
    MAX_ROUNDS,
    carry_out_all,
    carry_out_due,
    deletions,
    new_project,
    remove_project,
    set_project,
    trained,
)
from tests.deletions.served import served
from tests.faults.control import CANCEL, DELETE_FILE, DELETE_MODEL, UPLOAD, FaultyUpstream, error
from tests.stack import Servers
from tests.tenancy.test_rows import _row, _typed
from tests.wire import refusal
from tests.workers.harness import DEADLINE_SECONDS, WorkerHarness, open_harness, working
from tests.workers.process import WorkerProcess
from workers.deletions.carry_out import MAX_ATTEMPTS

SECRET = "Zanzibar-kumquat"
POINTS = [
    "project.stopped",
    "project.redacted_some",
    "project.released_some",
    "project.objects_deleted",
    "project.emptied_some:4",
    "project.rows_deleted",
    "project.ended",
    "deletion.upstream_answered",
]


@pytest.fixture
async def all_seeing(servers: Servers, database: str) -> AsyncIterator[AsyncEngine]:
    """Connections past row-level security and foreign keys."""
    engine = create_engine(servers.postgres.url(SUPERUSER, database), pool_size=1, role=None)
    yield engine
    await engine.dispose()


async def fill(engine: AsyncEngine, project_id: str) -> None:
    """A made-up row in every table that a deletion empties."""
    async with engine.begin() as connection:
        await connection.execute(text("SET LOCAL session_replication_role = replica"))
        for table in [*emptied_tables(), *(Base.metadata.tables[name] for name in BY_CASCADE)]:
            columns, values = _row(table, project_id, "first")
            values |= {"account_id": DEFAULT_ACCOUNT} if "account_id" in values else {}
            placed = ", ".join(f":{column}" for column in columns)
            made = _typed(f"INSERT INTO {table.name} ({', '.join(columns)}) VALUES ({placed})", table.name)
            await connection.execute(made, values)
    async with engine.begin() as connection:  # those that others hang on are there
        aliases = "UPDATE alias_promotions SET alias_id = (SELECT id FROM model_aliases WHERE project_id = :p) "
        await connection.execute(text(aliases + "WHERE project_id = :p"), {"p": project_id})


async def dump(engine: AsyncEngine, project_id: str) -> dict[str, list[str]]:
    """Every row of the project, as text, by table."""
    found = {}
    async with engine.connect() as connection:
        for name in TENANT_TABLES:
            column = "id" if name == "projects" else "project_id"
            rows = await connection.scalars(
                text(f"SELECT t::text FROM {name} t WHERE {column} = :p"), {"p": project_id}
            )
            found[name] = list(rows)
    return {name: rows for name, rows in found.items() if rows}


async def busy_project(harness: WorkerHarness) -> list[str]:
    """Jobs that ended in every way, one that runs, one that waits, and words of the customer in all of it."""
    validation = await harness.new_file(json.dumps({"messages": [{"role": "user", "content": SECRET}]}) + "\n")
    done = await trained(harness, validation=validation)
    harness.upstream.steps("running", "failed")
    failed = await trained(harness, training=await harness.new_file("\n"))
    harness.upstream.steps("running")
    running = await harness.new_job(training=await harness.new_file("\n\n"))
    await harness.until(running, "running")
    waiting = await harness.new_job(training=await harness.new_file("\n\n\n"))
    ids = [done.id, failed.id, running, waiting]
    words = {
        "suffix": SECRET,
        "caller_metadata": {"k": SECRET},
        "integrations": [SECRET],
        "method": {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 1}}, "x": SECRET},
        "waiting_reason": SECRET,
        "error_message": SECRET,
    }
    async with harness.ctx.db.worker() as session:
        await session.execute(update(Job).where(Job.id.in_(ids[:2])).values(**words))
        await session.execute(
            update(Job).where(Job.id == done.id).values(fine_tuned_model=f"ft:gpt-4o-mini:x:{SECRET}:1")
        )
        await session.execute(update(File).values(filename=SECRET, status_details=SECRET))
    key = f"{harness.project_id}/{new_id('object-')}"

    async def orphan() -> AsyncIterator[bytes]:
        yield SECRET.encode()

    await harness.ctx.storage.put(key, orphan())
    return ids


def objects(harness: WorkerHarness, project_id: str) -> list[Path]:
    folder = harness.ctx.settings.storage_path
    assert folder is not None
    return [path for path in (folder / project_id).rglob("*") if path.is_file()]


async def step_until_deleted(harness: WorkerHarness, jobs: Sequence[str]) -> None:
    for _ in range(MAX_ROUNDS):
        for job_id in jobs:
            await harness.step(job_id)
        if not await carry_out_due(harness):
            break
    async with harness.ctx.db.worker() as session:
        assert await session.scalar(select(Project.status).where(Project.id == harness.project_id)) == "deleted"


async def test_nothing_but_what_is_documented_is_left(harness: WorkerHarness, all_seeing: AsyncEngine) -> None:
    other = await new_project(harness)
    theirs = await trained(other)
    jobs = await busy_project(harness)
    for project_id in (harness.project_id, other.project_id):
        await fill(all_seeing, project_id)
    their_rows, their_objects = await dump(all_seeing, other.project_id), objects(harness, other.project_id)
    assert set(their_rows) >= {table.name for table in emptied_tables()}
    spent = (await harness.balance()).spent_micros

    asked = await remove_project(harness)
    assert (asked.status, asked.jobs_left) == ("deleting", 2)
    await step_until_deleted(harness, jobs)

    left = await dump(all_seeing, harness.project_id)
    assert set(left) <= set(RETAINED), set(left) - set(RETAINED)
    reported = json.dumps(left)
    for word in (SECRET, SECRET.encode().hex(), "content", "answer about"):
        assert word not in reported, [row for rows in left.values() for row in rows if word in row]
    assert objects(harness, harness.project_id) == []
    assert "project" in left["projects"][0]
    assert len(left["jobs"]) == len(jobs)

    assert [file["id"] for file in harness.upstream.files()] == [await _copy_of(other)]
    assert len(harness.upstream.gone_models()) == 1
    assert harness.upstream.unended() == []

    balance = await harness.balance()
    assert (balance.reserved_micros, balance.spent_micros) == (0, spent)
    async with harness.ctx.db.worker() as session:
        kinds = await session.scalars(select(LedgerEntry.kind).where(LedgerEntry.project_id == harness.project_id))
        entries = kinds.all()
        assert (entries.count("reserve"), len(entries)) == (len(jobs), 2 * len(jobs))
        costs = (await session.scalars(select(Job.cost_micros).where(Job.project_id == harness.project_id))).all()
        assert sum(cost or 0 for cost in costs) == spent
        types = (await session.scalars(select(AuditLog.type).where(AuditLog.project_id == harness.project_id))).all()
        assert types.count("project.deleted") == 2

    assert objects(harness, other.project_id) == their_objects
    after = await dump(all_seeing, other.project_id)
    assert {name: len(rows) for name, rows in after.items()} == {name: len(rows) for name, rows in their_rows.items()}
    assert (await harness.job(theirs.id)).fine_tuned_model == theirs.fine_tuned_model


async def _copy_of(harness: WorkerHarness) -> str:
    async with harness.ctx.db.worker() as session:
        return str(
            await session.scalar(
                text("SELECT upstream_file_id FROM upstream_files WHERE project_id = :p AND phase = 'uploaded'"),
                {"p": harness.project_id},
            )
        )


def test_every_table_of_a_project_is_kept_or_emptied() -> None:
    assert set(RETAINED) | {table.name for table in emptied_tables()} | BY_CASCADE == set(TENANT_TABLES)


class TestAsking:
    async def test_only_of_an_archived_project_and_again_is_fine(self, harness: WorkerHarness) -> None:
        path = f"/organization/projects/{harness.project_id}"
        async with served(harness, admin=True) as http:
            refused = await http.delete(path)
            assert (refused.status_code, refusal(refused)["code"]) == (409, "project_not_archived")
            assert (await http.get(f"{path}/deletion")).status_code == 404
            await http.post(f"{path}/archive")
            for _ in range(2):
                answer = await http.delete(path)
                assert (answer.status_code, answer.json()["status"]) == (200, "deleting")
            assert (await http.get(path)).json()["status"] == "deleting"
            assert (await http.delete("/organization/projects/proj_none")).status_code == 404
            assert len(await deletions(harness, "project")) == 1
            await carry_out_all(harness)
            for answer in (await http.get(f"{path}/deletion"), await http.delete(path)):
                shown = answer.json()
                assert (shown["status"], shown["upstream_left"], shown["waiting_for"]) == ("deleted", 0, None)
                assert shown["finished_at"] >= shown["requested_at"]
            assert (await http.get(path)).json()["status"] == "deleted"
            assert harness.project_id not in (await http.get("/organization/projects")).text

    async def test_it_shows_what_it_waits_for(self, harness: WorkerHarness) -> None:
        await trained(harness)
        harness.upstream.fault(DELETE_FILE, error(500), times=0)
        harness.upstream.fault(DELETE_MODEL, error(400), times=0)
        await remove_project(harness)
        for _ in range(MAX_ATTEMPTS):
            await carry_out_due(harness)
        async with served(harness, admin=True) as http:
            shown = (await http.get(f"/organization/projects/{harness.project_id}/deletion")).json()
        assert (shown["status"], shown["upstream_left"] + shown["upstream_failed"]) == ("deleting", 2)
        assert "upstream" in shown["waiting_for"]
        for _ in range(3):
            await carry_out_due(harness)
        (project,) = await deletions(harness, "project")
        assert project.status == "pending", "it never says that all is gone while it is not"


async def test_money_is_settled_before_anything_goes(harness: WorkerHarness) -> None:
    """A job whose cancel the upstream refuses for a while keeps all that settling it needs."""
    harness.upstream.steps("running")
    job_id = await harness.new_job()
    await harness.until(job_id, "running")
    harness.upstream.fault(CANCEL, error(500), times=3)
    await remove_project(harness)
    for _ in range(3):
        await carry_out_due(harness)
        assert (await harness.step(job_id)).state == "running"
        assert objects(harness, harness.project_id)
    await step_until_deleted(harness, [job_id])
    assert await harness.entries(job_id) == ["reserve", "void"]
    assert (await harness.balance()).reserved_micros == 0


async def test_what_an_unanswered_upload_left_goes_as_well(harness: WorkerHarness) -> None:
    harness.upstream.fault(UPLOAD, "reset", made=True)
    job_id = await harness.new_job()
    await harness.until(job_id, "uploading")
    await harness.step(job_id)
    await remove_project(harness)
    await step_until_deleted(harness, [job_id])
    assert harness.upstream.files() == []


async def test_a_file_that_was_on_its_way_in_is_refused(harness: WorkerHarness) -> None:
    """Its request came before the project was archived, and its last byte afterwards."""
    async with served(harness) as http:
        await set_project(harness, status="deleting", archived_at=None)
        with pytest.raises(InvalidRequest) as caught:
            async with harness.ctx.db.project(harness.project_id) as session:
                await create_file(
                    session,
                    project_id=harness.project_id,
                    storage_key="k",
                    new_file=NewFile(filename="a", purpose="user_data", expires_after_seconds=None),
                    stored=Stored(1, "x"),
                    model=harness.ctx.catalogue.default,
                )
        assert caught.value.code == "project_deleted"
        assert (await http.get("/files")).status_code == 401


@pytest.mark.faults
@pytest.mark.parametrize("point", POINTS)
async def test_a_worker_killed_anywhere_is_followed_by_one_that_goes_on(
    short_lease_settings: Settings, upstream: FaultyUpstream, tmp_path: Path, all_seeing: AsyncEngine, point: str
) -> None:
    short_lease_settings = dataclasses.replace(short_lease_settings, lease_seconds=5.0)
    async with open_harness(short_lease_settings, upstream) as harness:
        job = await trained(harness, validation=await harness.new_file(SECRET))
        upstream.steps("running")
        running = await harness.new_job(training=await harness.new_file("\n"))
        await harness.until(running, "running")
        await remove_project(harness)
        async with WorkerProcess(short_lease_settings, tmp_path, fault_point=point) as first:
            await first.killed()
        await harness.end_leases()
        async with working(harness):
            await _deleted(harness)
        assert set(await dump(all_seeing, harness.project_id)) <= set(RETAINED)
        assert (objects(harness, harness.project_id), upstream.files(), upstream.unended()) == ([], [], [])
        assert len(upstream.gone_models()) == 1
        assert await harness.entries(job.id) == ["reserve", "post"]
        assert await harness.entries(running) == ["reserve", "void"]
        assert (await harness.balance()).reserved_micros == 0


async def _deleted(harness: WorkerHarness) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while True:
        async with harness.ctx.db.worker() as session:
            status = await session.scalar(select(Project.status).where(Project.id == harness.project_id))
            reported = (await session.execute(select(Deletion.kind, Deletion.status, Deletion.last_error))).all()
        if status == "deleted":
            return
        assert time.monotonic() < deadline, reported
        await asyncio.sleep(0.05)
