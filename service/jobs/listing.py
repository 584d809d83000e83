"""Lists of jobs: sorted and filtered pages.

A page is read from its parts, each in the order of the list: ended jobs that have the figure, ended jobs that do not,
and unfinished jobs. The first two follow an index of ended jobs (`LISTED_BY` of the table); unfinished jobs, whose
figures change all the time, are in none, and as few as the project's limits allow. So a page costs as much in a large
project as in a small one, and a poll writes no index of figures.
"""

import datetime as dt
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import (
    CTE,
    ColumnElement,
    Double,
    Select,
    Text,
    TypeDecorator,
    and_,
    bindparam,
    cast,
    exists,
    extract,
    func,
    literal,
    literal_column,
    null,
    or_,
    select,
    tuple_,
    union_all,
)
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from service.database.reads import columns
from service.database.tables import ApiKey, Job, JobMetadataPair, ServiceAccount
from service.errors import unknown_cursor
from service.jobs.cursors import Cursor, cursor_text, parse_cursor
from service.jobs.lifecycle import Status, states_shown_as
from service.jobs.queries import JobRow
from service.jobs.schemas import ListJobs, Sort
from service.states import ENDED

_FIGURES: dict[Sort, Any] = {
    "cost": Job.cost_micros,
    "expected_cost": Job.expected_micros,
    "duration_seconds": Job.duration_seconds,
    "train_loss": Job.train_loss,
    "valid_loss": Job.valid_loss,
    "best_valid_loss": Job.best_valid_loss,
    "tokens_per_second": Job.tokens_per_second,
    "trained_tokens": Job.trained_tokens,
}

_FILTERS = ("status", "model", "training_file", "created_by", "experiment")

_COLUMNS = columns(Job, JobRow)


class Listed(NamedTuple):
    """The jobs of a page, and whether there are more. `next_after` is set if there are, in a list by a figure."""

    rows: list[JobRow]
    has_more: bool
    next_after: str | None


@dataclass(frozen=True, slots=True)
class _Filters:
    """Conditions for jobs, and whether ended and unfinished ones can meet them."""

    conditions: list[ColumnElement[bool]]
    ended: bool = True
    unfinished: bool = True


async def list_jobs(
    session: AsyncSession,
    project_id: str,
    query: ListJobs,
    *,
    now: dt.datetime,
    metadata: Mapping[str, str] | str | None = None,
    models: Sequence[str] = (),
) -> Listed:
    """Up to `limit` jobs in the order of the query, that carry all of `metadata` (`"null"`: none at all).

    `models` are the names of the model that the query has. Jobs without the figure come last, and jobs with the same
    one in the order of their creation. `now` is the time to which a running job's duration counts. Raises
    `InvalidRequest` for a cursor that is no job of the project.
    """
    cursor = None if query.after is None else await _cursor(session, project_id, query, now)
    if query.sort == "created_at" and all(getattr(query, name) is None for name in _FILTERS):
        statement = _newest(project_id, query, metadata, cursor)
    else:
        filters = await _filters(session, project_id, query, metadata, models)
        if filters is None:
            return Listed([], has_more=False, next_after=None)
        statement = _merged(project_id, query, filters, cursor, now)
    found = (await session.execute(statement)).all()
    rows = [JobRow(*row[:-1]) for row in found[: query.limit]]
    has_more, next_after = len(found) > query.limit, None
    if has_more and query.sort != "created_at":
        moment = now if cursor is None else cursor.moment
        next_after = cursor_text(rows[-1].id, query.sort, found[query.limit - 1][-1], moment)
    return Listed(rows, has_more, next_after)


async def _cursor(session: AsyncSession, project_id: str, query: ListJobs, now: dt.datetime) -> Cursor:
    """Where the page begins. A cursor that is only an id has the job's figure of now."""
    after = query.after or ""
    is_whole = query.sort in ("cost", "expected_cost", "trained_tokens")
    cursor = parse_cursor(after, sort=query.sort, is_whole=is_whole, now=now)
    if cursor is None:
        raise unknown_cursor(after)
    figure = null() if query.sort == "created_at" else _figure(query.sort, cursor.moment)
    known = select(Job.id, figure).where(Job.project_id == project_id, Job.id == cursor.job_id)
    found = (await session.execute(known)).one_or_none()
    if found is None:
        raise unknown_cursor(after)
    return cursor if cursor.has_figure else Cursor(cursor.job_id, found[1], cursor.moment, has_figure=True)


def _newest(
    project_id: str, query: ListJobs, metadata: Mapping[str, str] | str | None, cursor: Cursor | None
) -> Select[Any]:
    """All jobs by their creation, or those with some metadata."""
    statement = select(*_COLUMNS, null()).where(Job.project_id == project_id)
    if metadata == "null":
        statement = statement.where(Job.caller_metadata.is_(None))
    elif isinstance(metadata, Mapping) and metadata:
        found = _with_metadata(project_id, metadata, query, cursor)
        statement = statement.join(found, found.c.job_id == Job.id)
    return _page(statement, Job.id, query, cursor)


def _page(statement: Select[Any], job_id: Any, query: ListJobs, cursor: Cursor | None) -> Select[Any]:
    """The next jobs of a statement by their creation."""
    if cursor is not None:
        statement = statement.where(_beyond(query, job_id, cursor.job_id))
    order = job_id.asc().nulls_first() if query.order == "asc" else job_id.desc().nulls_last()  # as `ix_jobs_project`
    return statement.order_by(order).limit(query.limit + 1)


def _merged(
    project_id: str, query: ListJobs, filters: _Filters, cursor: Cursor | None, now: dt.datetime
) -> Select[Any]:
    """The next jobs of all parts, in order."""
    ended = and_(Job.project_id == project_id, Job.finished_at.is_not(None), *filters.conditions)
    unfinished = and_(Job.project_id == project_id, Job.finished_at.is_(None), *filters.conditions)
    if query.sort == "created_at":
        none = null().label("figure")
        kinds = [kind for kind, wanted in ((ended, filters.ended), (unfinished, filters.unfinished)) if wanted]
        parts = [_page(select(*_COLUMNS, none).where(kind), Job.id, query, cursor) for kind in kinds]
    else:
        parts = []
        figure = _FIGURES[query.sort]
        if filters.ended:
            parts = _ended_parts(query, ended, figure, cursor)
        if filters.unfinished:
            parts.append(_unfinished_part(query, unfinished, cursor, now))
    merged = union_all(*(select(part.subquery()) for part in parts)).subquery()
    figure, job_id = (each.asc() if query.order == "asc" else each.desc() for each in (merged.c.figure, merged.c.id))
    return select(merged).order_by(figure.nulls_last(), job_id).limit(query.limit + 1)


def _ended_parts(query: ListJobs, ended: ColumnElement[bool], figure: Any, cursor: Cursor | None) -> list[Select[Any]]:
    rows = select(*_COLUMNS, figure.label("figure")).where(ended).limit(query.limit + 1)
    rows = rows.order_by(*(each.asc() if query.order == "asc" else each.desc() for each in (figure, Job.id)))
    known, unknown = rows.where(figure.is_not(None)), rows.where(figure.is_(None))
    if cursor is None:
        return [known, unknown]
    if cursor.figure is None:
        return [unknown.where(_beyond(query, Job.id, cursor.job_id))]
    return [known.where(_beyond_figure(query, figure, cursor)), unknown]


def _unfinished_part(
    query: ListJobs, unfinished: ColumnElement[bool], cursor: Cursor | None, now: dt.datetime
) -> Select[Any]:
    figure = _figure(query.sort, now if cursor is None else cursor.moment)
    rows = select(*_COLUMNS, figure.label("figure")).where(unfinished)
    if cursor is not None and cursor.figure is None:
        rows = rows.where(figure.is_(None), _beyond(query, Job.id, cursor.job_id))
    elif cursor is not None:
        rows = rows.where(or_(figure.is_(None), _beyond_figure(query, figure, cursor)))
    figure, job_id = (each.asc() if query.order == "asc" else each.desc() for each in (figure, Job.id))
    return rows.order_by(figure.nulls_last(), job_id).limit(query.limit + 1)


def _figure(sort: Sort, moment: dt.datetime) -> ColumnElement[Any]:
    """The figure of a job at a moment: a duration counts up to it while the job runs."""
    column = _FIGURES[sort]
    if sort != "duration_seconds":
        return column  # type: ignore[no-any-return]
    return func.coalesce(column, cast(extract("epoch", literal(moment) - Job.started_at), Double))


def _beyond_figure(query: ListJobs, figure: Any, cursor: Cursor) -> Any:
    last = tuple_(literal(cursor.figure, figure.type), literal(cursor.job_id, Text))
    return _beyond(query, tuple_(figure, Job.id), last)


def _beyond(query: ListJobs, left: Any, right: Any) -> Any:
    return left > right if query.order == "asc" else left < right


async def _filters(
    session: AsyncSession,
    project_id: str,
    query: ListJobs,
    metadata: Mapping[str, str] | str | None,
    models: Sequence[str],
) -> _Filters | None:
    """The query's filters; None if no job can meet them."""
    conditions: list[ColumnElement[bool]] = []
    if query.status is not None:
        conditions.append(_has_status(query.status))
    if query.model is not None:
        conditions.append(_one_of(Job.model, models or [query.model]))
    if query.training_file is not None:
        conditions.append(Job.training_file_id == query.training_file)
    if query.experiment is not None:
        conditions.append(Job.experiment_id == query.experiment)
    if query.created_by is not None:
        keys = await _keys(session, project_id, query.created_by)
        if not keys:
            return None
        conditions.append(_one_of(Job.api_key_id, keys))
    if metadata == "null":
        conditions.append(Job.caller_metadata.is_(None))
    elif isinstance(metadata, Mapping) and metadata:
        conditions.append(Job.id.in_(_pairs(project_id, metadata)))
    has_ended = query.status in ENDED
    return _Filters(
        conditions, ended=query.status is None or has_ended, unfinished=query.status is None or not has_ended
    )


def _has_status(status: Status) -> ColumnElement[bool]:
    """The condition for jobs whose callers see the status (`lifecycle.status_shown`)."""
    by_state = _one_of(Job.state, states_shown_as(status))
    running_upstream = Job.upstream_status.is_not_distinct_from("running")
    if status == "running":
        return or_(by_state, and_(Job.state == "running", running_upstream))
    if status == "queued":
        return or_(by_state, and_(Job.state == "running", ~running_upstream))
    return by_state


def _one_of(column: Any, values: Sequence[str]) -> ColumnElement[bool]:
    """Equality for one value, by which an index has the rows in the order of what follows."""
    constants = [_constant(value) for value in values]
    return column == constants[0] if len(constants) == 1 else column.in_(constants)  # type: ignore[no-any-return]


def _constant(value: str) -> ColumnElement[str]:
    """A text in the SQL, and not a parameter, so that Postgres always plans for this one.

    A plan for any value could follow an index of all jobs, as is best for a value that most have.
    """
    return bindparam(None, value, type_=_Constant, literal_execute=True)


class _Constant(TypeDecorator[str]):
    """A text that is written into the SQL as the hexadecimal digits of its bytes: nothing in it needs quotes."""

    impl = Text
    cache_ok = True

    def literal_processor(self, dialect: Any) -> Callable[[str], str]:
        return lambda value: "E'" + "".join(f"\\x{byte:02x}" for byte in value.encode()) + "'"


async def _keys(session: AsyncSession, project_id: str, creator: str) -> Sequence[str]:
    """The ids of the keys of a creator: the id or name of a service account, or of a key; deleted ones, too."""
    account = and_(ServiceAccount.project_id == ApiKey.project_id, ServiceAccount.id == ApiKey.service_account_id)
    names = (ApiKey.id, ApiKey.name, ServiceAccount.id, ServiceAccount.name)
    found = await session.scalars(
        select(ApiKey.id)
        .outerjoin(ServiceAccount, account)
        .where(ApiKey.project_id == project_id, or_(*(name == creator for name in names)))
    )
    return found.all()


def _with_metadata(project_id: str, metadata: Mapping[str, str], query: ListJobs, cursor: Cursor | None) -> CTE:
    """The ids of the next jobs that carry all pairs, read in the order of the pairs' primary key."""
    pairs = _page(_pairs(project_id, metadata), JobMetadataPair.job_id, query, cursor)
    return pairs.cte("with_metadata").prefix_with("MATERIALIZED", dialect="postgresql")


def _pairs(project_id: str, metadata: Mapping[str, str]) -> Select[Any]:
    """The ids of the jobs that carry all pairs.

    The pairs are literals of the SQL, and not parameters, so that Postgres always plans for these: a plan for any pair
    could begin with one that every job has.
    """
    first, *further = [_pair(key, value) for key, value in metadata.items()]
    table = JobMetadataPair
    query = select(table.job_id).where(table.project_id == project_id, table.pair == first)
    for pair in further:
        other = aliased(table)
        query = query.where(
            exists().where(other.project_id == project_id, other.pair == pair, other.job_id == table.job_id)
        )
    return query


def _pair(key: str, value: str) -> ColumnElement[bytes]:
    digest = hashlib.sha256(f"{key}\0{value}".encode()).hexdigest()  # no text of Postgres contains a NUL
    return func.decode(bindparam(None, digest, literal_execute=True), literal_column("'hex'"))
