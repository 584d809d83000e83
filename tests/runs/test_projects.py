"""What archiving and deleting a project do to its runs, and what is pruned of those that ended long ago."""

import asyncio
import datetime as dt
from typing import Any

import pytest
from sqlalchemy import func, select, update

from service.archiving import archive
from service.database import leases
from service.database.leases import LeaseLost
from service.database.tables import Deletion, LedgerEntry, Project, Run, RunCall, RunEvent
from service.deletions.actions import delete_project
from service.identity import audit
from tests.runs.harness import RunHarness
from workers.deletions.carry_out import carry_out
from workers.maintenance.pruning import prune
from workers.runs import advance


async def _count(harness: RunHarness, table: Any) -> int:
    async with harness.ctx.db.worker() as session:
        counted = select(func.count()).select_from(table).where(table.project_id == harness.project_id)
        return await session.scalar(counted) or 0


async def test_archiving_ends_what_runs(harness: RunHarness) -> None:
    made = await harness.generate()
    await harness.until_end((await harness.generate(n_per_topic=1))["id"])
    async with harness.ctx.db.admin() as session:
        await archive(session, audit.SYSTEM, harness.project_id)
    row = await harness.row(made["id"])
    assert (row.status, row.due_at) == ("cancelled", None)
    assert await harness.webhooks() == ["dataset_generation.succeeded", "dataset_generation.cancelled"]


async def test_deleting_waits_for_the_money_and_leaves_no_word(harness: RunHarness) -> None:
    """A run with calls under way: they are posted, then everything but the ledger goes."""
    harness.upstream.gate.clear()
    made = await harness.generate(topics=["zanzibar"], concurrency=2)
    claimed = await harness.claim(made["id"])
    assert claimed is not None
    turn = asyncio.create_task(advance.advance(harness.ctx, claimed))
    async with asyncio.timeout(60):
        while len(harness.upstream.log) < 2:
            await asyncio.sleep(0.01)
    async with harness.ctx.db.admin() as session:
        await archive(session, audit.SYSTEM, harness.project_id)
        await delete_project(session, audit.SYSTEM, harness.project_id)
    assert await _status(harness) == "deleting"
    harness.upstream.gate.set()
    with pytest.raises(LeaseLost):
        await turn
    async with asyncio.timeout(90):
        while await _status(harness) != "deleted":
            await asyncio.sleep(0.05)
    for table in (Run, RunCall, RunEvent):
        assert await _count(harness, table) == 0
    entries = await harness.entries()
    assert sum(entry.kind == "post" for entry in entries) == 2
    assert await _count(harness, LedgerEntry) == 4


async def test_the_answers_of_an_old_run_go_and_the_run_stays(harness: RunHarness) -> None:
    made = await harness.generate(n_per_topic=1)
    await harness.until_end(made["id"])
    await prune(harness.ctx)
    assert await _count(harness, RunCall) == 4
    long_ago = func.now() - dt.timedelta(days=harness.ctx.settings.keep_events_days + 1)
    async with harness.ctx.db.worker() as session:
        await session.execute(update(Run).where(Run.id == made["id"]).values(finished_at=long_ago))
    await prune(harness.ctx)
    assert (await _count(harness, RunCall), await _count(harness, RunEvent), await _count(harness, Run)) == (0, 0, 1)
    assert (await harness.shown(made["id"]))["status"] == "succeeded"


async def _status(harness: RunHarness) -> str:
    """The project's, after a step of its deletion."""
    async with harness.ctx.db.worker() as session:
        mine = [Deletion.project_id == harness.project_id]
        await session.execute(update(Deletion).where(*mine, Deletion.due_at.is_not(None)).values(due_at=func.now()))
        claimed = await leases.claim(session, Deletion, lease_seconds=30.0, limit=10, where=mine)
    for each in claimed:
        await carry_out(harness.ctx, each)
    async with harness.ctx.db.admin() as session:
        status = await session.scalar(select(Project.status).where(Project.id == harness.project_id))
    return str(status)
