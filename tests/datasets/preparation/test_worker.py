"""Preparing in workers: once, whatever dies when, and ended in every case."""

import asyncio
import datetime as dt
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, text, update

from service.database.engine import create_engine
from service.database.leases import LeaseLost
from service.database.tables import DatasetPreparation, File
from service.datasets.preparation.actions import cancel_preparation
from service.settings import Settings
from tests.datasets.preparation.conftest import PreparationHarness
from tests.workers.harness import DEADLINE_SECONDS
from tests.workers.process import WorkerProcess
from workers.datasets import preparation

SPLIT: dict[str, Any] = {"split": {"validation_examples": 4}}
ONCE = {"files": 2, "reports": 2}
WAITED_FOR = "SELECT count(*) > 0 FROM pg_locks WHERE relation = 'files'::regclass AND NOT granted"


async def _end_lease(harness: PreparationHarness, preparation_id: str) -> None:
    """Let the lease be over, as after its time."""
    table = DatasetPreparation
    async with harness.ctx.db.worker() as session:
        past = func.now() - dt.timedelta(seconds=1)
        await session.execute(update(table).where(table.id == preparation_id).values(leased_until=past))


class TestOutputs:
    async def test_are_files_with_reports_and_nothing_else_is_left(self, harness: PreparationHarness) -> None:
        made = await harness.step(await harness.ask(**SPLIT))
        assert (made.status, made.progress, made.error) == ("succeeded", 1.0, None)
        assert (made.rows_in, made.rows_out, made.validation_rows) == (20, 20, 4)
        assert await harness.counts() == ONCE | {"announced": 0}
        async with harness.ctx.db.project(harness.project_id) as session:
            files = [await session.get_one(File, id or "") for id in (made.training_file, made.validation_file)]
        assert [file.filename for file in files] == ["facts_prepared_train.jsonl", "facts_prepared_valid.jsonl"]
        for file, rows in zip(files, (16, 4), strict=True):
            content = b"".join([chunk async for chunk in harness.ctx.storage.read(file.storage_key)])
            assert (content.count(b"\n"), len(content)) == (rows, file.size_bytes)

    async def test_a_refusal_leaves_nothing(self, harness: PreparationHarness) -> None:
        made = await harness.step(await harness.ask(b"question,answer\nWhy?,\n", fixes="none"))
        assert made.status == "failed"
        assert made.error is not None
        assert made.error.code == "invalid_input_file"
        assert "row 2: column `answer` is empty" in made.error.message
        assert await harness.counts() == {"files": 0, "reports": 0, "announced": 0}

    async def test_a_deleted_input_is_said(self, harness: PreparationHarness) -> None:
        preparation_id = await harness.ask()
        claimed = await harness.claim(preparation_id)
        async with harness.ctx.db.worker() as session:
            file = await session.get_one(File, claimed.row.input_file_id)
        await harness.ctx.storage.delete(file.storage_key)
        await preparation.prepare(harness.ctx, claimed)
        made = await harness.shown(preparation_id)
        assert made.error is not None
        assert (made.status, made.error.code) == ("failed", "file_not_found")


class TestCancel:
    async def test_a_worker_that_is_at_it_loses_it_and_keeps_nothing(self, harness: PreparationHarness) -> None:
        preparation_id = await harness.ask()
        claimed = await harness.claim(preparation_id)
        async with harness.ctx.db.project(harness.project_id) as session:
            await cancel_preparation(session, harness.project_id, preparation_id)
        with pytest.raises(LeaseLost):
            await preparation.prepare(harness.ctx, claimed)
        assert (await harness.shown(preparation_id)).status == "cancelled"
        assert await harness.counts() == {"files": 0, "reports": 0, "announced": 0}

    async def test_also_at_the_last_moment(self, harness: PreparationHarness, owner_url: str) -> None:
        """What a worker has stored when the cancel comes is announced, so that the janitor finds it."""
        preparation_id = await harness.ask(**SPLIT)
        claimed = await harness.claim(preparation_id)
        engine = create_engine(owner_url, pool_size=1, role=None)
        async with engine.begin() as holding:  # no file is recorded until the cancel has come
            await holding.execute(text("LOCK TABLE files IN SHARE MODE"))
            task = asyncio.create_task(preparation.prepare(harness.ctx, claimed))
            async with asyncio.timeout(DEADLINE_SECONDS):
                while not await holding.scalar(text(WAITED_FOR)):
                    await asyncio.sleep(0.01)
            async with harness.ctx.db.project(harness.project_id) as session:
                await cancel_preparation(session, harness.project_id, preparation_id)
        with pytest.raises(LeaseLost):
            await task
        await engine.dispose()
        assert (await harness.shown(preparation_id)).status == "cancelled"
        assert await harness.counts() == {"files": 0, "reports": 0, "announced": 3}


class TestCrashes:
    async def test_killed_workers_outputs_are_made_once(
        self, harness: PreparationHarness, worker_settings: Settings, tmp_path: Path
    ) -> None:
        """The first dies before anything is recorded, the second just after: starting them is what takes the time."""
        preparation_id = await harness.ask(**SPLIT)
        async with WorkerProcess(worker_settings, tmp_path, fault_point="prepare.stored") as first:
            await first.killed()
        assert await harness.counts() == {"files": 0, "reports": 0, "announced": 3}
        await _end_lease(harness, preparation_id)
        async with WorkerProcess(worker_settings, tmp_path, fault_point="prepare.ended") as second:
            await second.killed()
        assert (await harness.shown(preparation_id)).status == "succeeded"
        assert await harness.counts() == ONCE | {"announced": 3}

    async def test_a_process_that_dies_every_time_ends_it(
        self, harness: PreparationHarness, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TUNEGATE_FAULT_POINT", "prepare.working")
        preparation_id = await harness.ask()
        table = DatasetPreparation
        async with harness.ctx.db.worker() as session:
            await session.execute(update(table).where(table.id == preparation_id).values(failures=12))
        waiting = await harness.step(preparation_id)
        assert (waiting.status, waiting.error) == ("running", None)
        made = await harness.step(preparation_id)
        assert made.error is not None
        assert (made.status, made.error.code) == ("failed", "preparation_crashed")
        monkeypatch.delenv("TUNEGATE_FAULT_POINT")
        assert (await harness.step(await harness.ask())).status == "succeeded"

    async def test_one_that_reaches_a_limit_ends_at_once(self, harness: PreparationHarness) -> None:
        settings = replace(harness.ctx.settings, dataset_cpu_seconds=0.001)
        harness = replace(harness, ctx=replace(harness.ctx, settings=settings))
        made = await harness.step(await harness.ask(b"question,answer\n" + b"Why?,Because.\n" * 20_000))
        assert made.error is not None
        assert (made.status, made.error.code) == ("failed", "preparation_limit_exceeded")
        assert "TUNEGATE_DATASET_CPU_SECONDS" in made.error.message
        assert await harness.counts() == {"files": 0, "reports": 0, "announced": 3}
