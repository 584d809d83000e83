"""Enforces projects' limits of storage and training tokens; each check runs in its caller's transaction.

A check sums the rows themselves under an advisory lock of the project: there is no counter that could drift, and
projects without a limit pay for one query only.
"""

import datetime as dt

from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from service.database.advisory_locks import PROJECT_STORAGE, TRAINING_TOKENS
from service.database.tables import ProjectLimits, TrainingTokens
from service.errors import QuotaExceeded, TooLarge
from service.limits.queries import storage_bytes, training_tokens

TOLERANCE_PERCENT = 10
"""Upstreams count tokens with their own chat templates; a reservation leaves the margin of a price's upper bound."""


async def max_file_bytes(session: AsyncSession, project_id: str, default_bytes: int) -> int:
    """The size of the largest file that the project may upload now. Raises `QuotaExceeded` if its storage is full."""
    row = await session.get(ProjectLimits, project_id)
    if row is None:
        return default_bytes
    if row.max_storage_bytes is not None:
        used = await storage_bytes(session, project_id)
        if used >= row.max_storage_bytes:
            raise _storage_full(used, row.max_storage_bytes, 1)
    return min(default_bytes, row.max_file_bytes or default_bytes)


async def check_storage(session: AsyncSession, project_id: str, *, adding_bytes: int) -> None:
    """Raise `QuotaExceeded` if `adding_bytes` more do not fit within the project's storage limit.

    Locks the project's storage until the transaction ends, so that no concurrent transaction can add to it."""
    limit = await session.scalar(select(ProjectLimits.max_storage_bytes).where(ProjectLimits.project_id == project_id))
    if limit is None or adding_bytes <= 0:
        return
    await session.execute(PROJECT_STORAGE.take(project_id))
    used = await storage_bytes(session, project_id)
    if used + adding_bytes > limit:
        raise _storage_full(used, limit, adding_bytes)


async def check_file_size(session: AsyncSession, project_id: str, *, size_bytes: int) -> None:
    """Raise `TooLarge` for a file above the project's own limit."""
    limit = await session.scalar(select(ProjectLimits.max_file_bytes).where(ProjectLimits.project_id == project_id))
    if limit is not None and size_bytes > limit:
        raise TooLarge(
            f"The file has {size_bytes:,} bytes; this project's files may have at most {limit:,}. Split it, or ask the "
            "platform team for a higher limit.",
            param="bytes",
        )


async def reserve_tokens(
    session: AsyncSession, *, project_id: str, job_id: str, billable_tokens: int, month: dt.date
) -> None:
    """Reserve a job's upper bound of tokens against the month's limit, once. Raises `QuotaExceeded` if it exceeds it.

    Call it before the balance and the job are locked.
    """
    upper = billable_tokens + -(-billable_tokens * TOLERANCE_PERCENT // 100)
    limit = await session.scalar(
        select(ProjectLimits.max_training_tokens_per_month).where(ProjectLimits.project_id == project_id)
    )
    if limit is not None:
        await session.execute(TRAINING_TOKENS.take(project_id))
        known = await session.scalar(select(TrainingTokens.job_id).where(TrainingTokens.job_id == job_id))
        used = await training_tokens(session, project_id, month)
        if known is None and used + upper > limit:
            raise QuotaExceeded(
                f"This job may train up to {upper:,} tokens, and of the project's {limit:,} training tokens of "
                f"{month:%B %Y} (UTC) {max(0, limit - used):,} are left. Use fewer epochs or examples, or ask the "
                "platform team for a higher limit.",
                code="training_token_limit_exceeded",
            )
    await session.execute(
        insert(TrainingTokens)
        .values(job_id=job_id, project_id=project_id, month=month, reserved_tokens=upper)
        .on_conflict_do_nothing(index_elements=["job_id"])
    )


async def settle_tokens(session: AsyncSession, *, job_id: str, trained_tokens: int | None) -> None:
    """Replace a job's reservation by the tokens that it trained. None means unknown: the reservation remains."""
    if trained_tokens is not None:
        await session.execute(
            update(TrainingTokens).where(TrainingTokens.job_id == job_id).values(trained_tokens=trained_tokens)
        )


def _storage_full(used: int, limit: int, adding: int) -> QuotaExceeded:
    return QuotaExceeded(
        f"The project's files use {used:,} of the {limit:,} bytes that it may store; {adding:,} more do not fit. "
        "Delete files that are no longer needed (DELETE /v1/files/{id}), or ask the platform team for a higher limit.",
        code="storage_limit_exceeded",
    )
