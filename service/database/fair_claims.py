"""Fair claims: which due rows of leased work get the free places of a worker, so that projects share them.

A claim reads the longest due rows of each project (`longest_due`), lets the rule of `service/fair_shares.py` choose
among them, and claims what was chosen. It skips from one waiting project to the next by the index on (project_id,
due_at), a "loose index scan", so its cost grows with the number of waiting projects and not with their backlogs.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import CTE, ColumnElement, Integer, Numeric, Select, bindparam, cast, func, select, true
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from service.database import leases
from service.database.leases import Claim
from service.database.tables import Leased
from service.fair_shares import Waiting, fill

Row = TypeVar("Row", bound=Leased)

FREE = bindparam("free", type_=Integer)
"""The parameter of every query of rows to claim: the number of free places."""

Heads = Callable[[], Select[Any]]
"""The query of rows that may be claimed (project, id, due_at, the database's time), the longest due first, for `FREE`
places."""


class FairClaim(NamedTuple):
    """A claimed row and the project whose place it occupies."""

    project_id: str
    claim: Claim[Any]


class Claimed(NamedTuple):
    """The rows that were claimed, and whether others were chosen that another worker has claimed meanwhile."""

    claims: list[FairClaim]
    lost_some: bool


def waiting_keys(column: Any) -> CTE:
    """The distinct values (`key`) of a column of pending rows, by one index look-up each, and a null at the end.

    The table needs an index on (column, due_at) of the rows with a `due_at`.
    """
    table, further = column.class_, aliased(column.class_)
    next_key = getattr(further, column.key)
    waiting = select(func.min(column).label("key")).where(table.due_at.is_not(None)).cte("waiting", recursive=True)
    following = (
        select(func.min(next_key)).where(further.due_at.is_not(None), next_key > waiting.c.key).scalar_subquery()
    )
    return waiting.union_all(select(following).select_from(waiting).where(waiting.c.key.is_not(None)))


def longest_due(table: Any, where: Sequence[ColumnElement[bool]] = ()) -> Select[Any]:
    """The longest due rows of each project that waits: together about twice as many as there are free places.

    `where` are further conditions for a row to be claimed.
    """
    waiting = waiting_keys(table.project_id)
    head = _of_project(table, waiting.c.key, where).limit(1).correlate(waiting).lateral("head")
    due = (
        select(waiting.c.key)
        .select_from(waiting)
        .join(head, true())
        .cte("due")
        .prefix_with("MATERIALIZED", dialect="postgresql")
    )
    each = _rows_each(select(func.count()).select_from(due))
    rows = _of_project(table, due.c.key, where).limit(each).correlate(due).lateral("rows")
    return select(due.c.key, rows.c.id, rows.c.due_at, func.now()).select_from(due).join(rows, true())


def _of_project(table: Any, project_id: Any, where: Sequence[ColumnElement[bool]]) -> Select[Any]:
    return (
        select(table.id, table.due_at)
        .where(table.project_id == project_id, leases.due(table), *where)
        .order_by(table.due_at.nulls_first())
    )


def longest_due_of(candidates: CTE) -> Select[Any]:
    """The longest due of these rows (`project_id`, `id`, `due_at`), limited for each project as in `longest_due`."""
    place = func.row_number().over(partition_by=candidates.c.project_id, order_by=candidates.c.due_at)
    ranked = select(candidates, place.label("place")).subquery()
    each = _rows_each(select(func.count(candidates.c.project_id.distinct())))
    return select(ranked.c.project_id, ranked.c.id, ranked.c.due_at, func.now()).where(ranked.c.place <= each)


def _rows_each(projects: Select[Any]) -> Any:
    """How many rows to read of each of so many projects: enough that any of them can get its share of the free places.

    A project that could get even more, since others have few rows, gets the rest with the next claim.
    """
    return func.greatest(1, func.ceil(cast(2 * FREE, Numeric) / func.nullif(projects.scalar_subquery(), 0)))


async def claim_fairly(
    session: AsyncSession,
    table: type[Row],
    heads: Heads,
    *,
    places: int,
    occupied: Mapping[str, int],
    last_admissions: dict[str, float],
    lease_seconds: float,
) -> Claimed:
    """Claim rows for the places that `occupied` leaves free.

    `last_admissions` is the state of one queue of a worker, which this updates: Unix seconds of the database's clock.
    """
    free = places - Counter(occupied).total()
    waiting: dict[str, list[Waiting[str]]] = defaultdict(list)
    now = 0.0
    found: Any = await session.execute(heads(), {FREE.key: free})
    for project_id, row_id, due_at, at in found:
        waiting[project_id].append(Waiting(row_id, due_at.timestamp()))
        now = at.timestamp()
    for project_id in last_admissions.keys() - waiting.keys():
        del last_admissions[project_id]
    chosen = {
        row_id: project_id
        for project_id, row_id in fill(waiting, occupied, places=places, last_admissions=last_admissions)
    }
    if not chosen:
        return Claimed([], lost_some=False)
    claims = await leases.claim_rows(session, table, list(chosen), lease_seconds=lease_seconds)
    last_admissions.update((chosen[each.row.id], now) for each in claims)
    return Claimed([FairClaim(chosen[each.row.id], each) for each in claims], lost_some=len(claims) < len(chosen))
