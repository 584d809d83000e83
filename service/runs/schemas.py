"""What every kind of run shows on the wire."""

from typing import Any, Literal

import msgspec

from service.billing.prices import Amount
from service.database.tables import Run, RunEvent
from service.http.wire_types import PageQuery, unix

Status = Literal["pending", "running", "succeeded", "failed", "cancelled"]


class RunTokens(msgspec.Struct, frozen=True, kw_only=True):
    """What the calls have read and written so far."""

    input: int
    output: int


class RunFault(msgspec.Struct, frozen=True, kw_only=True):
    """Why a run failed."""

    code: str
    message: str
    param: str | None


class RunProgress(msgspec.Struct, frozen=True, kw_only=True):
    """How far a run is: of `total`, `done` are made, by so many `calls`."""

    total: int
    done: int
    calls: int
    share: float


class RunEventObject(msgspec.Struct, frozen=True, kw_only=True):
    """One event of a run; one of `progress` has `done`, `total` and `cost` in its `data`."""

    id: str
    object: Literal["run.event"] = "run.event"
    created_at: int
    level: Literal["info", "warn", "error"]
    type: Literal["message", "progress"]
    message: str
    data: dict[str, Any] | None


class ListRunEvents(PageQuery, frozen=True, kw_only=True):
    """The query of a run's events."""

    stream: bool = False


def show_progress(row: Run) -> RunProgress:
    """How far it is; 1.0 only at its end."""
    share = 1.0 if row.status == "succeeded" else min(0.99, row.done / max(1, row.total))
    return RunProgress(total=row.total, done=row.done, calls=row.calls, share=round(share, 2))


def show_tokens(row: Run) -> RunTokens:
    """The tokens so far."""
    return RunTokens(input=row.input_tokens, output=row.output_tokens)


def show_fault(row: Run) -> RunFault | None:
    """Why it failed, if it has."""
    if row.error_code is None:
        return None
    return RunFault(code=row.error_code, message=row.error_message or "", param=row.error_param)


def show_event(row: RunEvent) -> RunEventObject:
    """An event on the wire."""
    return RunEventObject(
        id=row.id,
        created_at=unix(row.created_at),
        level=row.level,  # type: ignore[arg-type]  # held by a CHECK
        type=row.type,  # type: ignore[arg-type]  # held by a CHECK
        message=row.message,
        data=row.data,
    )


class RunPrice(msgspec.Struct, frozen=True, kw_only=True):
    """Lowest, expected and highest price of a run."""

    low: Amount
    expected: Amount
    upper: Amount
