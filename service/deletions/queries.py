"""Reads deletions, for the workers and for the organisation's API."""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from service.database.tables import Balance, Deletion, File, Job


class UpstreamDeletions(NamedTuple):
    """The numbers of a project's upstream objects whose deletion is pending, and whose deletion failed."""

    pending: int
    failed: int


async def count_upstream_deletions(session: AsyncSession, project_id: str) -> UpstreamDeletions:
    """The number of a project's unfinished upstream deletions, by status."""
    rows = await session.execute(
        select(Deletion.status, func.count())
        .where(
            Deletion.project_id == project_id,
            Deletion.kind.in_(("upstream_file", "upstream_model")),
            Deletion.status != "done",
        )
        .group_by(Deletion.status)
    )
    counts = {row[0]: row[1] for row in rows}
    return UpstreamDeletions(pending=counts.get("pending", 0), failed=counts.get("failed", 0))


async def count_reserved(session: AsyncSession, project_id: str) -> int:
    """Micro-dollars that are reserved and neither posted nor voided."""
    reserved = await session.scalar(
        select(func.coalesce(func.sum(Balance.reserved_micros), 0)).where(Balance.project_id == project_id)
    )
    return int(reserved or 0)


class Remaining(NamedTuple):
    """What remains of a project that is being deleted."""

    jobs: int
    files: int


async def count_remaining(session: AsyncSession, project_id: str) -> Remaining:
    """The numbers of jobs that have not ended and of files with content."""
    jobs = select(func.count()).where(Job.project_id == project_id, Job.finished_at.is_(None))
    files = select(func.count()).where(File.project_id == project_id, File.content_deleted_at.is_(None))
    return Remaining(jobs=await session.scalar(jobs) or 0, files=await session.scalar(files) or 0)


async def deletion_of_project(session: AsyncSession, project_id: str) -> Deletion | None:
    """The latest deletion of a project, done or not; None when none was requested."""
    query = select(Deletion).where(Deletion.kind == "project", Deletion.subject == project_id)
    return (await session.scalars(query.order_by(Deletion.id.desc()).limit(1))).one_or_none()


async def failed_deletions(session: AsyncSession, *, limit: int) -> Sequence[Deletion]:
    """Failed deletions, oldest first."""
    query = select(Deletion).where(Deletion.status == "failed").order_by(Deletion.id).limit(limit)
    return (await session.scalars(query)).all()
