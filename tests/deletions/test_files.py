"""A deleted file is gone for its callers at once; then its bytes, what shows parts of it, and its copies upstream."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import func, select

from service.database import leases
from service.database.tables import DatasetPreparation, File, FileReport, LeakageReport
from service.datasets.leakage.reports import request_leakage_report
from service.datasets.preparation.actions import create_preparation
from service.datasets.preparation.schemas import CreatePreparation
from service.errors import Conflict, NotFound
from tests.deletions.factories import (
    carry_out_all,
    carry_out_due,
    copies,
    deletions,
    file_row,
    new_project,
    remove,
    statuses,
    trained,
)
from tests.faults.control import DELETE_FILE, NEVER, UPLOAD, error
from tests.workers.harness import WorkerHarness
from workers.deletions.carry_out import MAX_ATTEMPTS


class TestHere:
    async def test_its_bytes_and_its_reports_go_and_its_row_stays(self, harness: WorkerHarness) -> None:
        file_id = await harness.new_file()
        await remove(harness, file_id)
        async with harness.ctx.db.worker() as session:
            assert await session.scalar(select(func.count()).select_from(FileReport)) == 0
        key = (await file_row(harness, file_id)).storage_key
        assert [chunk async for chunk in harness.ctx.storage.read(key)]
        await carry_out_all(harness)
        with pytest.raises(FileNotFoundError):
            await anext(harness.ctx.storage.read(key))
        row = await file_row(harness, file_id)
        assert (row.content_deleted_at is not None, row.status_details) == (True, None)
        assert await statuses(harness, "file") == ["done"]
        with pytest.raises(NotFound):
            await remove(harness, file_id)

    async def test_so_does_the_list_of_what_a_preparation_changed_in_it(self, harness: WorkerHarness) -> None:
        file_id, output = await harness.new_file(), await harness.new_file("\n")
        key = (await file_row(harness, output)).storage_key + "-changes"

        async def list_of_changes() -> AsyncIterator[bytes]:
            yield b"{}"

        await harness.ctx.storage.put(key, list_of_changes())
        async with harness.ctx.db.project(harness.project_id) as session:
            made = await create_preparation(
                session, harness.project_id, CreatePreparation(file=file_id), harness.ctx.catalogue
            )
            made.status, made.due_at, made.finished_at = "succeeded", None, func.now()
            made.training_file_id, made.outcome, made.changes_key, made.changes_size_bytes = output, {}, key, 2
        await remove(harness, file_id)
        await carry_out_all(harness)
        async with harness.ctx.db.worker() as session:
            row = await session.get_one(DatasetPreparation, made.id)
        assert (row.changes_key, row.changes_size_bytes) == (None, None)
        with pytest.raises(FileNotFoundError):
            await anext(harness.ctx.storage.read(key))
        assert (await file_row(harness, output)).deleted_at is None


class TestInUse:
    async def refused(self, harness: WorkerHarness, file_id: str) -> str:
        with pytest.raises(Conflict) as caught:
            await remove(harness, file_id)
        assert caught.value.code == "file_in_use"
        assert (await file_row(harness, file_id)).deleted_at is None
        return caught.value.message

    async def test_by_a_live_job(self, harness: WorkerHarness) -> None:
        file_id = await harness.new_file()
        job_id = await harness.new_job(training=file_id)
        assert job_id in await self.refused(harness, file_id)
        await harness.until_end(job_id)
        await remove(harness, file_id)

    async def test_by_a_preparation_that_has_not_ended(self, harness: WorkerHarness) -> None:
        file_id = await harness.new_file()
        async with harness.ctx.db.project(harness.project_id) as session:
            made = await create_preparation(
                session, harness.project_id, CreatePreparation(file=file_id), harness.ctx.catalogue
            )
        assert made.id in await self.refused(harness, file_id)

    async def test_by_a_report_that_is_being_made(self, harness: WorkerHarness) -> None:
        """While a worker is at it, not while it only waits: a file that was sent by mistake can go at once."""
        file_id = await harness.new_file()
        await harness.leave_unchecked(file_id)
        async with harness.ctx.db.worker() as session:
            await leases.claim(session, FileReport, lease_seconds=30.0)
        await self.refused(harness, file_id)
        await harness.end_leases()
        await remove(harness, file_id)

    async def test_by_a_comparison_that_is_under_way(self, harness: WorkerHarness) -> None:
        training, validation = await harness.new_file(), await harness.new_file("\n")
        async with harness.ctx.db.project(harness.project_id) as session:
            pair = [await session.get_one(File, file_id) for file_id in (training, validation)]
            await request_leakage_report(session, *pair)
        async with harness.ctx.db.worker() as session:
            (claimed,) = await leases.claim(session, LeakageReport, lease_seconds=30.0)
        for file_id in (training, validation):
            await self.refused(harness, file_id)
        async with harness.ctx.db.worker() as session:
            await leases.give_back(session, claimed, {}, due_in_seconds=5.0)
        await remove(harness, validation)
        async with harness.ctx.db.worker() as session:
            assert await session.scalar(select(func.count()).select_from(LeakageReport)) == 0

    async def test_a_claim_that_has_not_committed_yet_counts(self, harness: WorkerHarness) -> None:
        """The worker begins to read as soon as it commits, so a deletion must not pass it unseen."""
        file_id = await harness.new_file()
        await harness.leave_unchecked(file_id)
        async with harness.ctx.db.worker() as session:
            await leases.claim(session, FileReport, lease_seconds=30.0)
            await self.refused(harness, file_id)

    async def test_a_preparation_and_a_deletion_that_race_do_not_both_win(self, harness: WorkerHarness) -> None:
        async def prepare(file_id: str) -> bool:
            try:
                async with harness.ctx.db.project(harness.project_id) as session:
                    body = CreatePreparation(file=file_id)
                    await create_preparation(session, harness.project_id, body, harness.ctx.catalogue)
            except Exception:
                return False
            return True

        async def delete(file_id: str) -> bool:
            try:
                await remove(harness, file_id)
            except Conflict:
                return False
            return True

        for _ in range(20):
            file_id = await harness.new_file()
            prepared, deleted = await asyncio.gather(prepare(file_id), delete(file_id))
            assert prepared != deleted


class TestUpstream:
    async def test_the_copy_goes_with_the_last_file_that_has_its_content(self, harness: WorkerHarness) -> None:
        file_id = await harness.new_file()
        await trained(harness, training=file_id)
        duplicate = await harness.new_file()
        await remove(harness, file_id)
        await carry_out_all(harness)
        assert (len(harness.upstream.files()), await deletions(harness, "upstream_file")) == (1, [])
        await remove(harness, duplicate)
        await carry_out_all(harness)
        assert (harness.upstream.files(), await copies(harness)) == ([], [])
        assert await statuses(harness, "upstream_file") == ["done"]

    async def test_another_project_s_copy_of_the_same_content_is_untouched(self, harness: WorkerHarness) -> None:
        other = await new_project(harness)
        mine, theirs = await harness.new_file(), await other.new_file()
        for where, file_id in ((harness, mine), (other, theirs)):
            await trained(where, training=file_id)
        assert len(harness.upstream.files()) == 2
        await remove(harness, mine)
        await carry_out_all(harness)
        (left,) = harness.upstream.files()
        async with harness.ctx.db.worker() as session:
            assert (await session.get_one(File, theirs)).deleted_at is None
        job = await trained(other, training=theirs)
        assert job.state == "succeeded"
        assert harness.upstream.creates()[-1]["body"]["training_file"] == left["id"]

    async def test_an_unanswered_upload_is_not_taken_for_another_project_s_copy(self, harness: WorkerHarness) -> None:
        """Both have the same content at the same account; the name tells whose it is."""
        other = await new_project(harness)
        mine = await harness.new_file()
        await trained(harness, training=mine)
        harness.upstream.fault(UPLOAD, "reset")
        await trained(other)
        used = [create["body"]["training_file"] for create in harness.upstream.creates()]
        assert len(set(used)) == 2
        await remove(harness, mine)
        await carry_out_all(harness)
        assert [file["id"] for file in harness.upstream.files()] == [used[1]]

    @pytest.mark.parametrize(
        "answer", ["reset", "cut", "hang", error(500), error(429), error(401), error(409)], ids=str
    )
    @pytest.mark.parametrize("made", [True, False])
    async def test_an_answer_that_was_lost_or_a_refusal_is_tried_again(
        self, impatient_harness: WorkerHarness, answer: object, made: bool
    ) -> None:
        file_id = await impatient_harness.new_file()
        await trained(impatient_harness, training=file_id)
        impatient_harness.upstream.fault(DELETE_FILE, answer, made=made)
        await remove(impatient_harness, file_id)
        await carry_out_due(impatient_harness)
        await carry_out_due(impatient_harness, due_only=True)
        (row,) = await deletions(impatient_harness, "upstream_file")
        assert (row.status, row.failures) == ("pending", 1)
        assert row.last_error
        account = await impatient_harness.account()
        assert account.cool_down_until is None, "a deletion holds up no job"
        await carry_out_all(impatient_harness)
        assert (impatient_harness.upstream.files(), await statuses(impatient_harness, "upstream_file")) == (
            [],
            ["done"],
        )

    async def test_one_that_is_refused_for_ever_is_shown_as_failed(self, harness: WorkerHarness) -> None:
        file_id = await harness.new_file()
        await trained(harness, training=file_id)
        harness.upstream.fault(DELETE_FILE, error(400), times=0)
        await remove(harness, file_id)
        for _ in range(MAX_ATTEMPTS + 1):
            await carry_out_due(harness)
        (row,) = await deletions(harness, "upstream_file")
        assert (row.status, row.failures, row.due_at) == ("failed", MAX_ATTEMPTS, None)
        assert row.last_error == "invalid: HTTP 400"

    async def test_a_copy_that_an_unanswered_upload_left_is_found_by_its_name(self, harness: WorkerHarness) -> None:
        harness.upstream.fault(UPLOAD, "reset", made=True)
        file_id = await harness.new_file()
        job_id = await harness.new_job(training=file_id)
        await harness.until(job_id, "uploading")
        await harness.step(job_id)
        await harness.request_cancel(job_id)
        await harness.until_end(job_id)
        assert len(harness.upstream.files()) == 1
        await remove(harness, file_id)
        await carry_out_all(harness)
        assert (harness.upstream.files(), await copies(harness)) == ([], [])

    async def test_so_is_one_that_was_sent_twice(self, harness: WorkerHarness) -> None:
        harness.upstream.fault(UPLOAD, "reset", made=True, late=NEVER)
        file_id = await harness.new_file()
        job_id = await harness.new_job(training=file_id)
        await harness.until(job_id, "uploading")
        stuck = asyncio.create_task(harness.step(job_id))
        while not harness.upstream.seen(UPLOAD):
            await asyncio.sleep(0.01)
        stuck.cancel()
        await asyncio.gather(stuck, return_exceptions=True)
        await harness.end_leases()
        await harness.until_end(job_id)
        harness.upstream.release()
        while len(harness.upstream.files()) < 2:
            await asyncio.sleep(0.01)
        await remove(harness, file_id)
        await carry_out_all(harness)
        assert [file["id"] for file in harness.upstream.files()] == []

    async def test_a_job_with_the_same_content_that_comes_meanwhile_sends_its_own(self, harness: WorkerHarness) -> None:
        first = await harness.new_file()
        await trained(harness, training=first)
        harness.upstream.fault(DELETE_FILE, error(500))
        await remove(harness, first)
        await carry_out_due(harness)
        await carry_out_due(harness, due_only=True)
        job_id = await harness.new_job(training=await harness.new_file())
        harness.upstream.fault(UPLOAD, "reset")
        await harness.until_end(job_id)
        assert (await harness.job(job_id)).state == "succeeded"
        old, used = (create["body"]["training_file"] for create in harness.upstream.creates())
        assert used != old, "what is about to be deleted was taken for its own"
        await carry_out_all(harness)
        assert [file["id"] for file in harness.upstream.files()] == [used]
