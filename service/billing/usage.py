"""Sums costs and usage from the ledger's posts, by time bucket and group.

A post counts at the time it was written, which is the end of a job or call. Its month, against whose limit it counts,
is that of its reservation.
"""

import datetime as dt
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sqlalchemy import ARRAY, ColumnElement, Text, any_, case, cast, func, literal, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from service.billing.buckets import Bucket, Span
from service.database.tables import LedgerEntry
from service.errors import InvalidRequest

COLUMNS: Mapping[str, Any] = {
    "project_id": LedgerEntry.project_id,
    "api_key_id": LedgerEntry.api_key_id,
    "line_item": LedgerEntry.line_item,
    "model": LedgerEntry.model,
    "job_id": case((LedgerEntry.basis.is_(None), LedgerEntry.subject)),
}
"""The columns by which posts can be grouped and filtered. Calls of inference belong to no job."""

MAX_RESULTS = 10_000
"""The results of a page, over all its buckets. A page that would have more has fewer buckets."""

Row = TypeVar("Row")
_Sums = tuple[Any, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What a page shows: up to `limit` buckets of those in `span`, of `seconds` each, and how their posts are grouped.

    Without `empty_buckets` those that have no results are left out, and others of the span take their places.
    """

    span: Span
    seconds: int
    limit: int
    empty_buckets: bool
    group_by: Sequence[str]
    only: Mapping[str, Sequence[str] | None]
    max_results: int = MAX_RESULTS


@dataclass(frozen=True, slots=True)
class Found(Generic[Row]):
    """The buckets of a page with their results, and the name of the next page if there is one."""

    buckets: Sequence[tuple[Bucket, Sequence[Row]]]
    next_page: str | None


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


async def costs(session: AsyncSession, selection: Selection) -> Found[Cost]:
    """The costs of each bucket, by group. Raises `InvalidRequest` for a bucket with too many groups."""
    spent = func.sum(LedgerEntry.spent_micros + LedgerEntry.overage_micros)
    sums: list[ColumnElement[Any]] = [spent, func.sum(LedgerEntry.quantity), func.sum(LedgerEntry.gpu_seconds)]

    def row(group: Mapping[str, Any], values: _Sums) -> Cost:
        micros, quantity, gpu_seconds = values
        return Cost(
            group=group,
            micros=int(micros),
            quantity=None if quantity is None else int(quantity),
            gpu_seconds=gpu_seconds,
        )

    return await _sums(session, selection, sums, row)


async def completions(session: AsyncSession, selection: Selection) -> Found[CompletionsUsage]:
    """The usage of inference of each bucket, by group. Raises as `costs` does."""
    input_sum, output_sum = func.sum(LedgerEntry.input_tokens), func.sum(LedgerEntry.output_tokens)

    def row(group: Mapping[str, Any], values: _Sums) -> CompletionsUsage:
        input_tokens, output_tokens, requests = values
        return CompletionsUsage(
            group=group, input_tokens=int(input_tokens), output_tokens=int(output_tokens), requests=requests
        )

    return await _sums(session, selection, [input_sum, output_sum, func.count()], row, LedgerEntry.basis.is_not(None))


async def fine_tuning(session: AsyncSession, selection: Selection) -> Found[TrainingUsage]:
    """The usage of training of each bucket, by group. Raises as `costs` does."""
    tokens, gpu_seconds = func.sum(LedgerEntry.quantity), func.sum(LedgerEntry.gpu_seconds)
    sums: list[ColumnElement[Any]] = [func.coalesce(tokens, 0), func.coalesce(gpu_seconds, 0), func.count()]

    def row(group: Mapping[str, Any], values: _Sums) -> TrainingUsage:
        trained, used, jobs = values
        return TrainingUsage(group=group, trained_tokens=int(trained), gpu_seconds=float(used), jobs=jobs)

    return await _sums(session, selection, sums, row, LedgerEntry.basis.is_(None))


async def _sums(
    session: AsyncSession,
    selection: Selection,
    sums: Sequence[ColumnElement[Any]],
    row: Callable[[Mapping[str, Any], _Sums], Row],
    *where: ColumnElement[bool],
) -> Found[Row]:
    buckets = selection.span.buckets
    if not buckets:
        return Found([], None)
    names = list(dict.fromkeys(selection.group_by))
    epoch = literal(dt.datetime.fromtimestamp(0, dt.UTC))
    width = dt.timedelta(seconds=selection.seconds)
    begin = func.extract("epoch", func.date_bin(width, LedgerEntry.created_at, epoch)).label("begin")
    columns = [COLUMNS[name].label(name) for name in names]
    filters = [
        COLUMNS[name] == any_(cast(list(values), ARRAY(Text)))
        for name, values in selection.only.items()
        if values is not None
    ]
    positions = [str(position + 2) for position in range(len(names))]
    by_time = "1" if selection.span.order == "asc" else "1 DESC"
    found: defaultdict[int, list[Row]] = defaultdict(list)
    rows = await session.execute(
        select(begin, *columns, *sums)
        .where(
            LedgerEntry.kind == "post",
            LedgerEntry.created_at >= _moment(min(bucket.begin for bucket in buckets)),
            LedgerEntry.created_at < _moment(max(bucket.end for bucket in buckets)),
            *filters,
            *where,
        )
        .group_by(*(text(position) for position in ("1", *positions)))
        .order_by(*(text(position) for position in (by_time, *positions)))
        .limit(selection.max_results + 1)
    )
    for number, (at, *values) in enumerate(rows):
        group = dict(zip(names, values, strict=False))
        if number == selection.max_results:
            buckets = _complete(selection, incomplete=int(at))
            break
        found[int(at)].append(row(group, tuple(values[len(names) :])))
    return _page(selection, [(each, found[each.begin // selection.seconds * selection.seconds]) for each in buckets])


def _complete(selection: Selection, *, incomplete: int) -> Sequence[Bucket]:
    buckets, seconds = selection.span.buckets, selection.seconds
    complete = next(number for number, bucket in enumerate(buckets) if bucket.begin // seconds * seconds == incomplete)
    if complete == 0:
        raise InvalidRequest(
            f"A bucket has more than {selection.max_results:,} results. Group by fewer fields, or filter them.",
            param="group_by[]",
        )
    return buckets[:complete]


def _page(selection: Selection, found: Sequence[tuple[Bucket, list[Row]]]) -> Found[Row]:
    shown: list[tuple[Bucket, Sequence[Row]]] = []
    for covered, (bucket, rows) in enumerate(found):
        if len(shown) == selection.limit:
            return Found(shown, selection.span.next_page(covered))
        if rows or selection.empty_buckets:
            shown.append((bucket, rows))
    return Found(shown, selection.span.next_page(len(found)))


def _moment(unix_seconds: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(unix_seconds, dt.UTC)
