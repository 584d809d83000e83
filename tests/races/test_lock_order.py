"""Transactions that meet on the same rows lock them in the same order, so that none waits for the other for ever."""

import asyncio

from service.database import leases
from service.database.tables import FileReport
from service.datasets.files.queries import get_file
from service.datasets.files.reports import request_report
from tests.workers.harness import MODEL, WorkerHarness
from workers.datasets import report


async def test_a_report_that_ends_while_a_job_on_its_file_comes_in(harness: WorkerHarness) -> None:
    """Both lock the file and then its report; the other way round Postgres ended one of them as a deadlock."""
    file_id = await harness.new_file()
    await harness.leave_unchecked(file_id)
    async with harness.ctx.db.worker() as session:
        [claimed] = await leases.claim(session, FileReport, lease_seconds=30.0)
    model = harness.ctx.catalogue.find(MODEL)
    assert model is not None
    async with harness.ctx.db.project(harness.project_id) as session:
        file = await get_file(session, harness.project_id, file_id, lock=True)
        made = report._failed_report(claimed.row, file, "made for this test")
        ending = asyncio.create_task(report._record(harness.ctx, claimed, file, made))
        done, _ = await asyncio.wait({ending}, timeout=0.5)
        assert not done, "it waits for whoever has the file"
        await request_report(session, file, model)
    await ending
    assert (await harness.report(file_id)).status == "ready"
