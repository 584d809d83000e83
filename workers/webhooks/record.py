"""Records attempts of deliveries: many in one transaction, each under the fence of its own claim."""

from collections.abc import Sequence
from typing import Any, assert_never

from sqlalchemy import (
    BigInteger,
    Boolean,
    DateTime,
    Interval,
    Text,
    case,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.types import TypeEngine

from service.database.engine import Database
from service.database.row_arrays import parameters, rows_of
from service.database.tables import Base, WebhookAttempt, WebhookDelivery
from service.webhooks.outcomes import Delivered, Rejected, Unreachable
from workers.webhooks.attempt import Attempt, Unsendable
from workers.webhooks.health import record_health

_TYPES: dict[str, TypeEngine[Any]] = {
    "id": Text(),
    "token": BigInteger(),
    "claimed_due_at": DateTime(timezone=True),
    "status": Text(),
    "due_in": Interval(),
    "is_success": Boolean(),
    "started_at": DateTime(timezone=True),
    "latency_ms": BigInteger(),
    "status_code": BigInteger(),
    "error": Text(),
    "response": Text(),
}
_ended = rows_of("ended", _TYPES)
_row = WebhookDelivery
_requested_again = _row.due_at.is_distinct_from(_ended.c.claimed_due_at)
_next_due_at = func.now() + _ended.c.due_in
_fenced = (
    update(_row)
    .where(_row.id == _ended.c.id, _row.lease_token == _ended.c.token, _row.leased_until.is_not(None))
    .values(
        status=case((_requested_again, "pending"), else_=_ended.c.status),
        attempts=_row.attempts + 1,
        failures=case((_ended.c.is_success, 0), else_=_row.failures + 1),
        due_at=case((_requested_again, func.least(_row.due_at, _next_due_at)), else_=_next_due_at),
        leased_until=None,
    )
    .returning(
        _row.id.label("delivery_id"),
        _row.project_id,
        _row.attempts.label("attempt"),
        *(_ended.c[name] for name in ("token", "started_at", "latency_ms", "status_code", "error", "response")),
    )
    .cte("fenced")
)
_copied = [each for each in _fenced.c if each.name != "token"]
_RECORD = select(_fenced.c.delivery_id, _fenced.c.token, _fenced.c.attempt).add_cte(
    insert(Base.metadata.tables[WebhookAttempt.__tablename__])
    .from_select([each.name for each in _copied], select(*_copied))
    .cte("written")
)


async def record_attempts(db: Database, attempts: Sequence[Attempt]) -> list[int | None]:
    """Write attempts, their deliveries' next states and their endpoints' health in one transaction.

    Returns each one's number among its delivery's attempts, or None if its lease was lost: such an attempt writes
    nothing. A redelivery that was requested during an attempt leads to another, whatever the outcome of this one.
    """
    rows = sorted((_values(each) for each in attempts), key=lambda row: str(row["id"]))
    async with db.claims() as session:
        recorded = await session.execute(_RECORD, parameters(_TYPES, rows))
        numbers = {(delivery_id, token): number for delivery_id, token, number in recorded}
        await record_health(session, [each for each in attempts if _key(each) in numbers])
    return [numbers.get(_key(each)) for each in attempts]


def _key(attempt: Attempt) -> tuple[str, int]:
    return attempt.claimed.row.id, attempt.claimed.token


def _values(attempt: Attempt) -> dict[str, object]:
    latency_ms, status_code, error, response = 0, None, None, None
    match attempt.outcome:
        case Delivered() | Rejected() as outcome:
            latency_ms, status_code, response = outcome.latency_ms, outcome.status_code, _storable(outcome.response)
        case Unreachable() as outcome:
            latency_ms, error = outcome.latency_ms, _storable(f"{outcome.reason}: {outcome.detail}")
        case Unsendable(reason):
            error = _storable(reason)
        case unknown:
            assert_never(unknown)
    return {
        "id": attempt.claimed.row.id,
        "token": attempt.claimed.token,
        "claimed_due_at": attempt.claimed.due_at,
        "status": attempt.status,
        "due_in": attempt.due_in,
        "is_success": attempt.status == "succeeded",
        "started_at": attempt.started_at,
        "latency_ms": latency_ms,
        "status_code": status_code,
        "error": error,
        "response": response,
    }


def _storable(text: str) -> str:
    """The text without NUL and lone surrogates, which Postgres cannot store."""
    return text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()
