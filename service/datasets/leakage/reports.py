"""Leakage reports: asked for by whoever names two files together, and made by a worker."""

import msgspec
from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from service.database.leased_work import LEAKAGE_REPORTS, wake
from service.database.tables import File, LeakageReport
from service.datasets.report_schema import Leakage
from service.ids import new_id


async def request_leakage_report(session: AsyncSession, training: File, validation: File) -> Leakage:
    """What two files share; a worker finds out if nobody has yet.

    The row stays as it is until the caller's transaction ends. So a job that is created with a pending one is there
    when the worker looks whom to tell, or else finds it ready. The caller keeps both files from being deleted.
    """
    added = await session.scalar(
        insert(LeakageReport)
        .values(
            id=new_id("leakage-"),
            project_id=training.project_id,
            training_file_id=training.id,
            validation_file_id=validation.id,
            due_at=func.now(),
        )
        .on_conflict_do_nothing(index_elements=["training_file_id", "validation_file_id"])
        .returning(LeakageReport.id)
    )
    if added is not None:
        wake(session, LEAKAGE_REPORTS, added, 0)
    row = (
        await session.scalars(
            select(LeakageReport)
            .where(
                LeakageReport.project_id == training.project_id,
                LeakageReport.training_file_id == training.id,
                LeakageReport.validation_file_id == validation.id,
            )
            .with_for_update(read=True)
        )
    ).one()
    if row.result is not None:
        return msgspec.convert({**row.result, "validation_file": validation.id}, Leakage)
    size_bytes = training.size_bytes + validation.size_bytes
    return Leakage(
        validation_file=validation.id,
        status="pending",
        progress=min(row.progress_bytes / size_bytes, 1.0) if size_bytes else 0.0,
    )


def leakage_warning(found: Leakage) -> str | None:
    """What to say of two files where they share anything."""
    if not found.shared:
        return None
    return (
        f"{found.shared:,} of {found.validation_examples:,} validation examples ({found.share:.1%}) are in the "
        f"training file too: {found.exact:,} the same, {found.same_prompt:,} by their prompt, {found.near:,} nearly "
        "the same. The validation loss will look better than the model is."
    )
