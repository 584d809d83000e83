"""Workers killed with −9 between the steps of a file's deletion; another one finishes it."""

import asyncio
from pathlib import Path

import pytest

from service.settings import Settings
from tests.deletions.factories import copies, deletions, file_row, remove, trained
from tests.faults.control import FaultyUpstream
from tests.workers.harness import DEADLINE_SECONDS, open_bench, working
from tests.workers.process import WorkerProcess


@pytest.mark.parametrize("point", ["deletion.content_gone", "deletion.copies_let_go", "deletion.upstream_answered"])
async def test_a_worker_killed_there_has_done_no_harm(
    quick: Settings, upstream: FaultyUpstream, tmp_path: Path, point: str
) -> None:
    async with open_bench(quick, upstream) as bench:
        file_id = await bench.new_file()
        await trained(bench, training=file_id)
        await remove(bench, file_id)
        async with WorkerProcess(quick, tmp_path, fault_point=point) as first:
            await first.killed()
        async with working(bench), asyncio.timeout(DEADLINE_SECONDS):
            while {row.status for row in await deletions(bench)} != {"done"} or upstream.files():
                await asyncio.sleep(0.05)
        assert (await file_row(bench, file_id)).content_deleted_at is not None
        assert await copies(bench) == []
