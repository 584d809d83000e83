"""Reserves and posts for the usual inference calls, of any number of projects: in one statement each, after their lock.

A call is usual if its project's balance of the month exists and has room for all that is reserved together, if its cost
is within its reservation, if it belongs to no run, and if the organisation's balances are not maintained. What is not
usual is left alone, and `actions.py` does it, with the same result for what is usual.

`lock_months` comes first, in a statement of its own: so the others see what was committed before the balances were
locked, the organisation's setting too.
"""

import datetime as dt
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnElement,
    Date,
    Interval,
    Select,
    Table,
    Text,
    any_,
    bindparam,
    case,
    delete,
    func,
    insert,
    literal_column,
    select,
    true,
    update,
)
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.types import TypeEngine

from service.billing import alerts
from service.billing.actions import Actual, Reservation
from service.billing.balances import LockedMonth, lowest_threshold
from service.billing.ledger import MonthBalance
from service.database.reads import Query, Reader
from service.database.row_arrays import parameters, rows_of
from service.database.tables import Balance, LedgerEntry, OpenInference, OrganizationSpending, Project, SpendAlert
from service.ids import new_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A call before it is sent: what it reserves, in money and tokens. A call of a run has its key within the run."""

    reservation: Reservation
    input_tokens: int
    output_tokens: int
    run_id: str | None = None
    call_key: str | None = None


def is_usual(subject: Call | Actual) -> bool:
    """Whether the statements of this module can write it, as far as it says itself: a call of a run they cannot."""
    return isinstance(subject, Actual) or subject.run_id is None


class Postings(NamedTuple):
    """The subjects of resolved calls, and the months after the postings that have reached a spend alert."""

    subjects: Collection[str] = frozenset()
    reached: Sequence[LockedMonth] = ()


async def lock_months(
    transaction: Reader, project_ids: Collection[str], *, month: dt.date, skip_locked: bool
) -> Collection[str]:
    """Lock projects' balances of a month until the transaction ends. Returns the projects that have one.

    With `skip_locked`, projects whose balance another transaction has locked are left out, so that none waits.
    """
    return set(await transaction.all(_LOCK[skip_locked], projects=list(project_ids), current_month=month))


async def reserve_usual(
    transaction: Reader,
    calls: Sequence[tuple[str, Call]],
    *,
    month: dt.date,
    lifetime: dt.timedelta,
) -> Collection[str]:
    """Reserve for calls, each with its project, whose balance is locked, and record them as open.

    Returns the projects whose calls it reserved. The UPDATE checks the limit, for all calls of a project together.
    """
    rows = [
        {
            "id": new_id("entry-"),
            "project_id": project_id,
            "subject": call.reservation.subject,
            "line_item": call.reservation.line_item,
            "amount": call.reservation.amount_micros,
            "api_key_id": call.reservation.api_key_id,
            "model": call.reservation.model,
            "input_tokens": call.input_tokens,
            "output_tokens": call.output_tokens,
        }
        for project_id, call in calls
    ]
    projects = [project_id for project_id, _ in calls]
    return set(
        await transaction.all(
            _RESERVE, **parameters(_REQUESTED, rows), projects=projects, current_month=month, lifetime=lifetime
        )
    )


async def post_usual(transaction: Reader, actuals: Sequence[tuple[str, Actual]], *, month: dt.date) -> Postings:
    """Post the actual costs of calls, each with its project, whose balance is locked, or void them.

    Returns what it resolved. The same transaction must emit the alerts (`notify`).
    """
    values = [
        {
            "id": new_id("entry-"),
            "project_id": project_id,
            "subject": actual.subject,
            "amount": actual.micros,
            "quantity": actual.quantity,
            "input_tokens": actual.input_tokens,
            "output_tokens": actual.output_tokens,
            "basis": actual.basis,
        }
        for project_id, actual in actuals
    ]
    rows = await transaction.all(_POST, **parameters(_ACTUAL, values), current_month=month)
    reached = {row.project_id: row for row in rows if row.alert_at is not None and row.posted_micros >= row.alert_at}
    months = [
        LockedMonth(
            project_id=project_id,
            month=month,
            balance=MonthBalance(reserved=0, spent=row.posted_micros, overage=0, limit=None),
            alert_at=row.alert_at,
            organization_alert_at=None,
        )
        for project_id, row in sorted(reached.items())
    ]
    return Postings({row.subject for row in rows}, months)


async def notify(session: AsyncSession, postings: Postings) -> None:
    """Emit the alerts that postings have reached."""
    for month in postings.reached:
        await alerts.notify(session, month, month.balance)


_BALANCES: Table = Balance.__table__  # type: ignore[assignment]
_ENTRIES: Table = LedgerEntry.__table__  # type: ignore[assignment]
_OPEN: Table = OpenInference.__table__  # type: ignore[assignment]
_PROJECTS: Table = Project.__table__  # type: ignore[assignment]
_ORGANIZATION: Table = OrganizationSpending.__table__  # type: ignore[assignment]

_RESERVE_KIND: ColumnElement[str] = literal_column("'reserve'", Text)
"""No parameter, so that the planner can use the partial indexes."""

_REQUESTED: dict[str, TypeEngine[Any]] = {
    "id": Text(),
    "project_id": Text(),
    "subject": Text(),
    "line_item": Text(),
    "amount": BigInteger(),
    "api_key_id": Text(),
    "model": Text(),
    "input_tokens": BigInteger(),
    "output_tokens": BigInteger(),
}
_ACTUAL: dict[str, TypeEngine[Any]] = {
    "id": Text(),
    "project_id": Text(),
    "subject": Text(),
    "amount": BigInteger(),
    "quantity": BigInteger(),
    "input_tokens": BigInteger(),
    "output_tokens": BigInteger(),
    "basis": Text(),
}

_MONTH = bindparam("current_month", type_=Date)
_NOT_MAINTAINED = select(~_ORGANIZATION.c.kept).where(_ORGANIZATION.c.id == 1).scalar_subquery()


def _lock(*, skip_locked: bool) -> Select[Any]:
    projects = bindparam("projects", type_=ARRAY(Text))
    return (
        select(_BALANCES.c.project_id)
        .where(_BALANCES.c.project_id == any_(projects), _BALANCES.c.month == _MONTH)
        .order_by(_BALANCES.c.project_id)
        .with_for_update(skip_locked=skip_locked)
    )


def _reserve() -> Select[Any]:
    requested = rows_of("requested", _REQUESTED)
    wanted = (
        select(requested.c.project_id, func.sum(requested.c.amount).cast(BigInteger).label("micros"))
        .group_by(requested.c.project_id)
        .cte("wanted")
    )
    in_use = _BALANCES.c.reserved_micros + _BALANCES.c.spent_micros + _BALANCES.c.overage_micros
    limit = _PROJECTS.c.spend_limit_micros
    granted = (
        update(_BALANCES)
        .where(
            _BALANCES.c.project_id == any_(bindparam("projects", type_=ARRAY(Text))),
            _BALANCES.c.project_id == wanted.c.project_id,
            _BALANCES.c.month == _MONTH,
            _PROJECTS.c.id == wanted.c.project_id,
            limit.is_(None) | (in_use + wanted.c.micros <= limit),
            _NOT_MAINTAINED,
        )
        .values(reserved_micros=_BALANCES.c.reserved_micros + wanted.c.micros)
        .returning(_BALANCES.c.project_id)
        .cte("granted")
    )
    fitting = requested.join(granted, granted.c.project_id == requested.c.project_id)
    columns = {
        "id": requested.c.id,
        "project_id": requested.c.project_id,
        "month": _MONTH,
        "subject": requested.c.subject,
        "kind": _RESERVE_KIND,
        "line_item": requested.c.line_item,
        "reserved_micros": requested.c.amount,
        "api_key_id": requested.c.api_key_id,
        "model": requested.c.model,
    }
    entries = (
        insert(_ENTRIES)
        .from_select(list(columns), select(*columns.values()).select_from(fitting), include_defaults=False)
        .returning(_ENTRIES.c.id)
        .cte("entries")
    )
    columns = {
        "subject": requested.c.subject,
        "project_id": requested.c.project_id,
        "input_tokens": requested.c.input_tokens,
        "output_tokens": requested.c.output_tokens,
        "expires_at": func.now() + bindparam("lifetime", type_=Interval),
    }
    opened = (
        insert(_OPEN)
        .from_select(list(columns), select(*columns.values()).select_from(fitting), include_defaults=False)
        .returning(_OPEN.c.subject)
        .cte("opened")
    )
    return select(granted.c.project_id).add_cte(entries, opened)


def _post() -> Select[Any]:
    actual = rows_of("actual", _ACTUAL)
    reservation = (
        select(
            _ENTRIES.c.project_id,
            _ENTRIES.c.month,
            _ENTRIES.c.line_item,
            _ENTRIES.c.reserved_micros,
            _ENTRIES.c.api_key_id,
            _ENTRIES.c.model,
        )
        .where(
            _ENTRIES.c.subject == actual.c.subject,
            _ENTRIES.c.kind == _RESERVE_KIND,
            _OPEN.c.subject == actual.c.subject,
            _OPEN.c.run_id.is_(None),
        )
        .limit(literal_column("1"))  # looked up one by one: a plan made while the ledger was small would read all of it
        .lateral("reservation")
    )
    reserved = (
        select(
            *actual.c,
            reservation.c.line_item,
            reservation.c.reserved_micros,
            reservation.c.api_key_id,
            reservation.c.model,
        )
        .select_from(actual.join(reservation, true()))
        .where(
            reservation.c.project_id == actual.c.project_id,
            reservation.c.month == _MONTH,
            reservation.c.reserved_micros >= actual.c.amount,
        )
        .cte("reserved")
    )
    costs = (reserved.c.amount > 0) | (func.coalesce(reserved.c.quantity, 0) > 0)
    columns = {
        "id": reserved.c.id,
        "project_id": reserved.c.project_id,
        "month": _MONTH,
        "subject": reserved.c.subject,
        "kind": case((costs, literal_column("'post'")), else_=literal_column("'void'")),
        "line_item": reserved.c.line_item,
        "reserved_micros": reserved.c.reserved_micros,
        "spent_micros": reserved.c.amount,
        "quantity": reserved.c.quantity,
        "api_key_id": reserved.c.api_key_id,
        "model": reserved.c.model,
        "input_tokens": reserved.c.input_tokens,
        "output_tokens": reserved.c.output_tokens,
        "basis": reserved.c.basis,
    }
    posted = (
        upsert(_ENTRIES)
        .from_select(list(columns), select(*columns.values()).where(_NOT_MAINTAINED), include_defaults=False)
        .on_conflict_do_nothing()
        .returning(_ENTRIES.c.project_id, _ENTRIES.c.subject, _ENTRIES.c.reserved_micros, _ENTRIES.c.spent_micros)
        .cte("posted")
    )
    sums = (
        select(
            posted.c.project_id,
            func.sum(posted.c.reserved_micros).cast(BigInteger).label("released"),
            func.sum(posted.c.spent_micros).cast(BigInteger).label("spent"),
        )
        .group_by(posted.c.project_id)
        .cte("sums")
    )
    changed = (
        update(_BALANCES)
        .where(_BALANCES.c.project_id == sums.c.project_id, _BALANCES.c.month == _MONTH)
        .values(
            reserved_micros=_BALANCES.c.reserved_micros - sums.c.released,
            spent_micros=_BALANCES.c.spent_micros + sums.c.spent,
        )
        .returning(
            _BALANCES.c.project_id, (_BALANCES.c.spent_micros + _BALANCES.c.overage_micros).label("posted_micros")
        )
        .cte("changed")
    )
    closed = delete(_OPEN).where(_OPEN.c.subject.in_(select(posted.c.subject))).returning(_OPEN.c.subject).cte("closed")
    alert_at = lowest_threshold(SpendAlert, func.to_char(_MONTH, "YYYY-MM-DD")).where(
        SpendAlert.project_id == changed.c.project_id
    )
    return (
        select(
            posted.c.subject,
            changed.c.project_id,
            changed.c.posted_micros,
            alert_at.scalar_subquery().label("alert_at"),
        )
        .join(changed, changed.c.project_id == posted.c.project_id)
        .add_cte(closed)
    )


class _Posted(NamedTuple):
    subject: str
    project_id: str
    posted_micros: int
    alert_at: int | None


_LOCK = {skip_locked: Query(str, _lock(skip_locked=skip_locked)) for skip_locked in (False, True)}
_RESERVE = Query(str, _reserve())
_POST = Query(_Posted, _post())
