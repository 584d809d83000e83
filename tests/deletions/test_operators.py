"""`tunegate deletions`: what was given up is shown, tried again or taken as done, with an entry in the audit log."""

import subprocess
import sys

from sqlalchemy import select

from service.database.tables import AuditLog
from service.settings import Settings
from tests.deletions.factories import carry_out_due, deletions, remove, statuses, trained
from tests.faults.control import DELETE_FILE, error
from tests.stack import ROOT
from tests.workers.harness import WorkerHarness
from tests.workers.process import environment
from workers.deletions.carry_out import MAX_ATTEMPTS


def tunegate(settings: Settings, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cli", "deletions", *arguments],
        cwd=ROOT,
        env=environment(settings) | {"COLUMNS": "300"},
        capture_output=True,
        text=True,
        check=False,
    )


async def test_what_failed_is_listed_tried_again_and_accepted(harness: WorkerHarness) -> None:
    settings = harness.ctx.settings
    file_id = await harness.new_file()
    await trained(harness, training=file_id)
    harness.upstream.fault(DELETE_FILE, error(403), times=0)
    await remove(harness, file_id)
    for _ in range(MAX_ATTEMPTS + 1):
        await carry_out_due(harness)
    (row,) = await deletions(harness, "upstream_file")
    listed = tunegate(settings)
    assert (listed.returncode, listed.stderr) == (1, "")
    for shown in (row.id, harness.project_id, row.upstream_id, "auth: HTTP 403"):
        assert shown
        assert shown in listed.stdout
    assert tunegate(settings, "--retry", row.id).returncode == 0
    (again,) = await deletions(harness, "upstream_file")
    assert (again.status, again.failures, again.due_at is None) == ("pending", 0, False)
    assert tunegate(settings, "--accept", row.id).returncode == 1, "it is not one that failed"
    for _ in range(MAX_ATTEMPTS):
        await carry_out_due(harness)
    assert tunegate(settings, "--accept", "all").returncode == 0
    assert await statuses(harness, "upstream_file") == ["done"]
    assert tunegate(settings).returncode == 0
    async with harness.ctx.db.worker() as session:
        reported = select(AuditLog.type).where(AuditLog.resource_id == row.id).order_by(AuditLog.id)
        assert list(await session.scalars(reported)) == ["deletion.retried", "deletion.accepted"]
