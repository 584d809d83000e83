"""Sums costs and usage from the ledger's posts, by time bucket and group.

A post counts at the time it was written, which is the end of a job or call. Its month, against whose limit it counts,
is that of its reservation.
"""

import datetime as dt
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ARRAY, ColumnElement, Text, any_, cast, func, literal, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from service.billing.buckets import Bucket
from service.database.tables import LedgerEntry

COLUMNS: Mapping[str, Any] = {
    "project_id": LedgerEntry.project_id,
    "api_key_id": LedgerEntry.api_key_id,
    "line_item": LedgerEntry.line_item,
    "model": LedgerEntry.model,
}
"""The columns by which posts can be grouped and filtered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """The costs of a group in a bucket. `quantity` is in tokens, `gpu_seconds` what upstreams metered for jobs."""

    group: Mapping[str, Any]
    micros: int
    quantity: int | None
    gpu_seconds: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletionsUsage:
    """The usage of inference of a group in a bucket."""

    group: Mapping[str, Any]
    input_tokens: int
    output_tokens: int
    requests: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingUsage:
    """The usage of training of a group in a bucket: of the jobs that ended in it."""

    group: Mapping[str, Any]
    trained_tokens: int
    gpu_seconds: float
    jobs: int


async def costs(
    session: AsyncSession,
    buckets: Sequence[Bucket],
    *,
    seconds: int,
    group_by: Sequence[str],
    only: Mapping[str, Sequence[str] | None],
) -> list[list[Cost]]:
    """The costs of each bucket, by group. Needs the admin's scope."""
    spent = func.sum(LedgerEntry.spent_micros + LedgerEntry.overage_micros)
    sums: list[ColumnElement[Any]] = [spent, func.sum(LedgerEntry.quantity), func.sum(LedgerEntry.gpu_seconds)]
    found = await _sums(session, buckets, sums, seconds=seconds, group_by=group_by, only=only, where=[])
    return [
        [
            Cost(
                group=group,
                micros=int(micros),
                quantity=None if quantity is None else int(quantity),
                gpu_seconds=gpu_seconds,
            )
            for group, (micros, quantity, gpu_seconds) in rows
        ]
        for rows in found
    ]


async def completions(
    session: AsyncSession,
    buckets: Sequence[Bucket],
    *,
    seconds: int,
    group_by: Sequence[str],
    only: Mapping[str, Sequence[str] | None],
) -> list[list[CompletionsUsage]]:
    """The usage of inference of each bucket, by group. Needs the admin's scope."""
    input_sum, output_sum = func.sum(LedgerEntry.input_tokens), func.sum(LedgerEntry.output_tokens)
    sums: list[ColumnElement[Any]] = [input_sum, output_sum, func.count()]
    found = await _sums(
        session,
        buckets,
        sums,
        seconds=seconds,
        group_by=group_by,
        only=only,
        where=[LedgerEntry.basis.is_not(None)],
    )
    return [
        [
            CompletionsUsage(
                group=group, input_tokens=int(input_tokens), output_tokens=int(output_tokens), requests=requests
            )
            for group, (input_tokens, output_tokens, requests) in rows
        ]
        for rows in found
    ]


async def fine_tuning(
    session: AsyncSession,
    buckets: Sequence[Bucket],
    *,
    seconds: int,
    group_by: Sequence[str],
    only: Mapping[str, Sequence[str] | None],
) -> list[list[TrainingUsage]]:
    """The usage of training of each bucket, by group. Needs the admin's scope."""
    tokens, gpu_seconds = func.sum(LedgerEntry.quantity), func.sum(LedgerEntry.gpu_seconds)
    found = await _sums(
        session,
        buckets,
        [func.coalesce(tokens, 0), func.coalesce(gpu_seconds, 0), func.count()],
        seconds=seconds,
        group_by=group_by,
        only=only,
        where=[LedgerEntry.basis.is_(None)],
    )
    return [
        [
            TrainingUsage(group=group, trained_tokens=int(trained), gpu_seconds=float(used), jobs=jobs)
            for group, (trained, used, jobs) in rows
        ]
        for rows in found
    ]


async def _sums(
    session: AsyncSession,
    buckets: Sequence[Bucket],
    sums: Sequence[ColumnElement[Any]],
    *,
    seconds: int,
    group_by: Sequence[str],
    only: Mapping[str, Sequence[str] | None],
    where: Sequence[ColumnElement[bool]],
) -> list[list[tuple[dict[str, str | None], tuple[Any, ...]]]]:
    if not buckets:
        return []
    names = list(dict.fromkeys(group_by))
    epoch = dt.datetime.fromtimestamp(0, dt.UTC)
    begin = func.extract("epoch", func.date_bin(dt.timedelta(seconds=seconds), LedgerEntry.created_at, literal(epoch)))
    columns = [COLUMNS[name] for name in names]
    filters = [
        COLUMNS[name] == any_(cast(list(values), ARRAY(Text))) for name, values in only.items() if values is not None
    ]
    rows = await session.execute(
        select(begin.label("begin"), *columns, *sums)
        .where(
            LedgerEntry.kind == "post",
            LedgerEntry.created_at >= dt.datetime.fromtimestamp(buckets[0].begin, dt.UTC),
            LedgerEntry.created_at < dt.datetime.fromtimestamp(buckets[-1].end, dt.UTC),
            *filters,
            *where,
        )
        .group_by(text("1"), *columns)
        .order_by(text("1"), *columns)
    )
    found: defaultdict[int, list[tuple[dict[str, str | None], tuple[Any, ...]]]] = defaultdict(list)
    for row in rows:
        values = tuple(row)
        group = dict(zip(names, values[1 : 1 + len(names)], strict=True))
        found[int(values[0])].append((group, values[1 + len(names) :]))
    return [found[bucket.begin // seconds * seconds] for bucket in buckets]
