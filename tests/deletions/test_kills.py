"""Workers killed with −9 between the steps of a file's deletion; another one finishes it."""

import asyncio
from pathlib import Path

import pytest

from service.settings import Settings
from tests.deletions.factories import copies, deletions, file_row, remove, trained
from tests.faults.control import FaultyUpstream
from tests.workers.harness import DEADLINE_SECONDS, open_harness, working
from tests.workers.process import WorkerProcess

pytestmark = pytest.mark.faults


@pytest.mark.parametrize(
    "point", ["deletion.content_deleted", "deletion.upstream_files_released", "deletion.upstream_answered"]
)
async def test_a_worker_killed_there_has_done_no_harm(
    short_lease_settings: Settings, upstream: FaultyUpstream, tmp_path: Path, point: str
) -> None:
    async with open_harness(short_lease_settings, upstream) as harness:
        file_id = await harness.new_file()
        await trained(harness, training=file_id)
        await remove(harness, file_id)
        async with WorkerProcess(short_lease_settings, tmp_path, fault_point=point) as first:
            await first.killed()
        await harness.end_leases()
        async with working(harness), asyncio.timeout(DEADLINE_SECONDS):
            while {row.status for row in await deletions(harness)} != {"done"} or upstream.files():
                await asyncio.sleep(0.05)
        assert (await file_row(harness, file_id)).content_deleted_at is not None
        assert await copies(harness) == []
