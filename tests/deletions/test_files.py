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
from tests.workers.harness import Bench
from workers.deletions.carry_out import MAX_TRIES


class TestHere:
    async def test_its_bytes_and_its_reports_go_and_its_row_stays(self, bench: Bench) -> None:
        file_id = await bench.new_file()
        await remove(bench, file_id)
        async with bench.ctx.db.worker() as session:
            assert await session.scalar(select(func.count()).select_from(FileReport)) == 0
        key = (await file_row(bench, file_id)).storage_key
        assert [chunk async for chunk in bench.ctx.storage.read(key)]
        await carry_out_all(bench)
        with pytest.raises(FileNotFoundError):
            await anext(bench.ctx.storage.read(key))
        row = await file_row(bench, file_id)
        assert (row.content_deleted_at is not None, row.status_details) == (True, None)
        assert await statuses(bench, "file") == ["done"]
        with pytest.raises(NotFound):
            await remove(bench, file_id)

    async def test_so_does_the_list_of_what_a_preparation_changed_in_it(self, bench: Bench) -> None:
        file_id, output = await bench.new_file(), await bench.new_file("\n")
        key = (await file_row(bench, output)).storage_key + "-changes"

        async def list_of_changes() -> AsyncIterator[bytes]:
            yield b"{}"

        await bench.ctx.storage.put(key, list_of_changes())
        async with bench.ctx.db.project(bench.project_id) as session:
            made = await create_preparation(
                session, bench.project_id, CreatePreparation(file=file_id), bench.ctx.catalogue
            )
            made.status, made.due_at, made.finished_at = "succeeded", None, func.now()
            made.training_file_id, made.outcome, made.changes_key, made.changes_size_bytes = output, {}, key, 2
        await remove(bench, file_id)
        await carry_out_all(bench)
        async with bench.ctx.db.worker() as session:
            row = await session.get_one(DatasetPreparation, made.id)
        assert (row.changes_key, row.changes_size_bytes) == (None, None)
        with pytest.raises(FileNotFoundError):
            await anext(bench.ctx.storage.read(key))
        assert (await file_row(bench, output)).deleted_at is None


class TestInUse:
    async def refused(self, bench: Bench, file_id: str) -> str:
        with pytest.raises(Conflict) as caught:
            await remove(bench, file_id)
        assert caught.value.code == "file_in_use"
        assert (await file_row(bench, file_id)).deleted_at is None
        return caught.value.message

    async def test_by_a_live_job(self, bench: Bench) -> None:
        file_id = await bench.new_file()
        job_id = await bench.new_job(training=file_id)
        assert job_id in await self.refused(bench, file_id)
        await bench.until_end(job_id)
        await remove(bench, file_id)

    async def test_by_a_preparation_that_has_not_ended(self, bench: Bench) -> None:
        file_id = await bench.new_file()
        async with bench.ctx.db.project(bench.project_id) as session:
            made = await create_preparation(
                session, bench.project_id, CreatePreparation(file=file_id), bench.ctx.catalogue
            )
        assert made.id in await self.refused(bench, file_id)

    async def test_by_a_report_that_is_being_made(self, bench: Bench) -> None:
        """While a worker is at it, not while it only waits: a file that was sent by mistake can go at once."""
        file_id = await bench.new_file()
        await bench.leave_unchecked(file_id)
        async with bench.ctx.db.worker() as session:
            await leases.claim(session, FileReport, lease_seconds=30.0)
        await self.refused(bench, file_id)
        await bench.end_leases()
        await remove(bench, file_id)

    async def test_by_a_comparison_that_is_under_way(self, bench: Bench) -> None:
        training, validation = await bench.new_file(), await bench.new_file("\n")
        async with bench.ctx.db.project(bench.project_id) as session:
            pair = [await session.get_one(File, file_id) for file_id in (training, validation)]
            await request_leakage_report(session, *pair)
        async with bench.ctx.db.worker() as session:
            (claimed,) = await leases.claim(session, LeakageReport, lease_seconds=30.0)
        for file_id in (training, validation):
            await self.refused(bench, file_id)
        async with bench.ctx.db.worker() as session:
            await leases.give_back(session, claimed, {}, due_in_seconds=5.0)
        await remove(bench, validation)
        async with bench.ctx.db.worker() as session:
            assert await session.scalar(select(func.count()).select_from(LeakageReport)) == 0

    async def test_a_claim_that_has_not_committed_yet_counts(self, bench: Bench) -> None:
        """The worker begins to read as soon as it commits, so a deletion must not pass it unseen."""
        file_id = await bench.new_file()
        await bench.leave_unchecked(file_id)
        async with bench.ctx.db.worker() as session:
            await leases.claim(session, FileReport, lease_seconds=30.0)
            await self.refused(bench, file_id)

    async def test_a_preparation_and_a_deletion_that_race_do_not_both_win(self, bench: Bench) -> None:
        async def prepare(file_id: str) -> bool:
            try:
                async with bench.ctx.db.project(bench.project_id) as session:
                    body = CreatePreparation(file=file_id)
                    await create_preparation(session, bench.project_id, body, bench.ctx.catalogue)
            except Exception:
                return False
            return True

        async def delete(file_id: str) -> bool:
            try:
                await remove(bench, file_id)
            except Conflict:
                return False
            return True

        for _ in range(20):
            file_id = await bench.new_file()
            prepared, deleted = await asyncio.gather(prepare(file_id), delete(file_id))
            assert prepared != deleted


class TestUpstream:
    async def test_the_copy_goes_with_the_last_file_that_has_its_content(self, bench: Bench) -> None:
        file_id = await bench.new_file()
        await trained(bench, training=file_id)
        twin = await bench.new_file()
        await remove(bench, file_id)
        await carry_out_all(bench)
        assert (len(bench.upstream.files()), await deletions(bench, "upstream_file")) == (1, [])
        await remove(bench, twin)
        await carry_out_all(bench)
        assert (bench.upstream.files(), await copies(bench)) == ([], [])
        assert await statuses(bench, "upstream_file") == ["done"]

    async def test_another_project_s_copy_of_the_same_content_is_untouched(self, bench: Bench) -> None:
        other = await new_project(bench)
        mine, theirs = await bench.new_file(), await other.new_file()
        for where, file_id in ((bench, mine), (other, theirs)):
            await trained(where, training=file_id)
        assert len(bench.upstream.files()) == 2
        await remove(bench, mine)
        await carry_out_all(bench)
        (left,) = bench.upstream.files()
        async with bench.ctx.db.worker() as session:
            assert (await session.get_one(File, theirs)).deleted_at is None
        job = await trained(other, training=theirs)
        assert job.state == "succeeded"
        assert bench.upstream.creates()[-1]["body"]["training_file"] == left["id"]

    async def test_an_unanswered_upload_is_not_taken_for_another_project_s_copy(self, bench: Bench) -> None:
        """Both have the same content at the same account; the name tells whose it is."""
        other = await new_project(bench)
        mine = await bench.new_file()
        await trained(bench, training=mine)
        bench.upstream.fault(UPLOAD, "reset")
        await trained(other)
        used = [create["body"]["training_file"] for create in bench.upstream.creates()]
        assert len(set(used)) == 2
        await remove(bench, mine)
        await carry_out_all(bench)
        assert [file["id"] for file in bench.upstream.files()] == [used[1]]

    @pytest.mark.parametrize(
        "answer", ["reset", "cut", "hang", error(500), error(429), error(401), error(409)], ids=str
    )
    @pytest.mark.parametrize("made", [True, False])
    async def test_an_answer_that_was_lost_or_a_refusal_is_tried_again(
        self, hasty: Bench, answer: object, made: bool
    ) -> None:
        file_id = await hasty.new_file()
        await trained(hasty, training=file_id)
        hasty.upstream.fault(DELETE_FILE, answer, made=made)
        await remove(hasty, file_id)
        await carry_out_due(hasty)
        await carry_out_due(hasty, due_only=True)
        (row,) = await deletions(hasty, "upstream_file")
        assert (row.status, row.failures) == ("pending", 1)
        assert row.last_error
        account = await hasty.account()
        assert account.cool_down_until is None, "a deletion holds up no job"
        await carry_out_all(hasty)
        assert (hasty.upstream.files(), await statuses(hasty, "upstream_file")) == ([], ["done"])

    async def test_one_that_is_refused_for_ever_is_shown_as_failed(self, bench: Bench) -> None:
        file_id = await bench.new_file()
        await trained(bench, training=file_id)
        bench.upstream.fault(DELETE_FILE, error(400), times=0)
        await remove(bench, file_id)
        for _ in range(MAX_TRIES + 1):
            await carry_out_due(bench)
        (row,) = await deletions(bench, "upstream_file")
        assert (row.status, row.failures, row.due_at) == ("failed", MAX_TRIES, None)
        assert row.last_error == "invalid: HTTP 400"

    async def test_a_copy_that_an_unanswered_upload_left_is_found_by_its_name(self, bench: Bench) -> None:
        bench.upstream.fault(UPLOAD, "reset", made=True)
        file_id = await bench.new_file()
        job_id = await bench.new_job(training=file_id)
        await bench.until(job_id, "uploading")
        await bench.step(job_id)
        await bench.request_cancel(job_id)
        await bench.until_end(job_id)
        assert len(bench.upstream.files()) == 1
        await remove(bench, file_id)
        await carry_out_all(bench)
        assert (bench.upstream.files(), await copies(bench)) == ([], [])

    async def test_so_is_one_that_was_sent_twice(self, bench: Bench) -> None:
        bench.upstream.fault(UPLOAD, "reset", made=True, late=NEVER)
        file_id = await bench.new_file()
        job_id = await bench.new_job(training=file_id)
        await bench.until(job_id, "uploading")
        stuck = asyncio.create_task(bench.step(job_id))
        while not bench.upstream.seen(UPLOAD):
            await asyncio.sleep(0.01)
        stuck.cancel()
        await asyncio.gather(stuck, return_exceptions=True)
        await bench.end_leases()
        await bench.until_end(job_id)
        bench.upstream.release()
        while len(bench.upstream.files()) < 2:
            await asyncio.sleep(0.01)
        await remove(bench, file_id)
        await carry_out_all(bench)
        assert [file["id"] for file in bench.upstream.files()] == []

    async def test_a_job_with_the_same_content_that_comes_meanwhile_sends_its_own(self, bench: Bench) -> None:
        first = await bench.new_file()
        await trained(bench, training=first)
        bench.upstream.fault(DELETE_FILE, error(500))
        await remove(bench, first)
        await carry_out_due(bench)
        await carry_out_due(bench, due_only=True)
        job_id = await bench.new_job(training=await bench.new_file())
        bench.upstream.fault(UPLOAD, "reset")
        await bench.until_end(job_id)
        assert (await bench.job(job_id)).state == "succeeded"
        old, used = (create["body"]["training_file"] for create in bench.upstream.creates())
        assert used != old, "what is about to be deleted was taken for its own"
        await carry_out_all(bench)
        assert [file["id"] for file in bench.upstream.files()] == [used]
