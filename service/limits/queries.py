"""Reads limits and their usage."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from sqlalchemy import bindparam, func, literal, select
from sqlalchemy.ext.asyncio import AsyncSession

from service.database.reads import Query, Reader
from service.database.tables import File, ProjectLimits, RateLimit, TrainingTokens, Upload, UploadPart
from service.limits.schemas import ALL_MODELS, DEFAULT_TOKENS


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """A project's rate limits as they were set: (requests, tokens) per minute by model; None where none was set."""

    key_requests: int | None = None
    by_model: dict[str, tuple[int | None, int | None]] = field(default_factory=dict)

    def requests(self, default: int) -> int:
        """The number of requests of all kinds that the project may send per minute."""
        return self.by_model.get(ALL_MODELS, (None, None))[0] or default

    def model_requests(self, model: str) -> int | None:
        """The number of those that may be inference with this model; None: no separate limit."""
        return self.by_model.get(model, (None, None))[0]

    def tokens(self, model: str) -> int:
        """The number of tokens per minute that the project's inference with this model may use."""
        own, common = self.by_model.get(model, (None, None))[1], self.by_model.get(ALL_MODELS, (None, None))[1]
        return own or common or DEFAULT_TOKENS


async def find_limits(session: AsyncSession, project_id: str) -> ProjectLimits:
    """The project's limits; an unsaved row without limits if none was ever set."""
    row = await session.get(ProjectLimits, project_id, populate_existing=True)
    return row or ProjectLimits(project_id=project_id)


class _Rate(NamedTuple):
    key_requests: int | None
    model: str | None
    requests: int | None
    tokens: int | None


_RATES = Query(
    _Rate,
    select(
        select(ProjectLimits.max_requests_per_key_per_1_minute)
        .where(ProjectLimits.project_id == bindparam("project_id"))
        .scalar_subquery(),
        RateLimit.model,
        RateLimit.max_requests_per_1_minute,
        RateLimit.max_tokens_per_1_minute,
    )
    .select_from(select(literal(1).label("always")).subquery())  # a row also for a project without rate limits
    .outerjoin(RateLimit, RateLimit.project_id == bindparam("project_id")),
)


async def read_rates(reader: Reader, project_id: str) -> Rates:
    """The project's rate limits as they were set."""
    return _rates(await reader.all(_RATES, project_id=project_id))


async def rates_of(session: AsyncSession, project_id: str) -> Rates:
    """As `read_rates`, in the transaction of an action."""
    rows = await session.execute(_RATES.statement, {"project_id": project_id})
    return _rates([_Rate(*row) for row in rows])


def _rates(rows: Sequence[_Rate]) -> Rates:
    return Rates(
        key_requests=rows[0].key_requests,
        by_model={row.model: (row.requests, row.tokens) for row in rows if row.model is not None},
    )


async def storage_bytes(session: AsyncSession, project_id: str) -> int:
    """The bytes of a project's files and open uploads; an upload counts as announced, or as received if that is more.

    One statement, so that an upload that becomes a file at the same time is counted exactly once.
    """
    files = (
        select(func.coalesce(func.sum(File.size_bytes), 0))
        .where(File.project_id == project_id, File.deleted_at.is_(None))
        .scalar_subquery()
    )
    received = (
        select(func.coalesce(func.sum(UploadPart.size_bytes), 0))
        .where(UploadPart.project_id == Upload.project_id, UploadPart.upload_id == Upload.id)
        .scalar_subquery()
    )
    uploads = (
        select(func.coalesce(func.sum(func.greatest(Upload.size_bytes, received)), 0))
        .where(
            Upload.project_id == project_id,
            Upload.status == "pending",
            (Upload.expires_at > func.now()) | (Upload.leased_until > func.now()),
        )
        .scalar_subquery()
    )
    return int(await session.scalar(select(files + uploads)) or 0)


async def training_tokens(session: AsyncSession, project_id: str, month: dt.date) -> int:
    """The tokens of a month's jobs: trained by those that ended, reserved by the others."""
    total = await session.scalar(
        select(
            func.coalesce(func.sum(func.coalesce(TrainingTokens.trained_tokens, TrainingTokens.reserved_tokens)), 0)
        ).where(TrainingTokens.project_id == project_id, TrainingTokens.month == month)
    )
    return int(total or 0)
