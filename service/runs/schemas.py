"""Wire types that both kinds of run share."""

from typing import Any, Literal

import msgspec

from service.billing.prices import Amount
from service.database.tables import Run, RunEvent
from service.http.wire_types import PageQuery, unix
from service.states import RunEventLevel, RunEventType


class RunTokens(msgspec.Struct, frozen=True, kw_only=True):
    """The tokens of all calls so far."""

    input: int
    output: int


class RunFault(msgspec.Struct, frozen=True, kw_only=True):
    """Why a run failed."""

    code: str
    message: str
    param: str | None


class RunProgress(msgspec.Struct, frozen=True, kw_only=True):
    """The progress of a run: `done` of `total` examples or cases are complete, after `calls` answered calls."""

    total: int
    done: int
    calls: int
    share: float


class RunEventObject(msgspec.Struct, frozen=True, kw_only=True):
    """An event of a run. The `data` of a `progress` event has `done`, `total` and `cost`."""

    id: str
    object: Literal["run.event"] = "run.event"
    created_at: int
    level: RunEventLevel
    type: RunEventType
    message: str
    data: dict[str, Any] | None


class ListRunEvents(PageQuery, frozen=True, kw_only=True):
    """The query of a run's events."""

    stream: bool = False


def show_progress(row: Run) -> RunProgress:
    """The progress of a run; its share is 1.0 for a succeeded run only."""
    share = 1.0 if row.status == "succeeded" else min(0.99, row.done / max(1, row.total))
    return RunProgress(total=row.total, done=row.done, calls=row.calls, share=round(share, 2))


def show_tokens(row: Run) -> RunTokens:
    """The tokens of a run so far."""
    return RunTokens(input=row.input_tokens, output=row.output_tokens)


def show_fault(row: Run) -> RunFault | None:
    """Why a run failed; None unless it did."""
    if row.error_code is None:
        return None
    return RunFault(code=row.error_code, message=row.error_message or "", param=row.error_param)


def show_event(row: RunEvent) -> RunEventObject:
    """An event of a run as the API shows it."""
    return RunEventObject(
        id=row.id,
        created_at=unix(row.created_at),
        level=row.level,
        type=row.type,
        message=row.message,
        data=row.data,
    )


class RunPrice(msgspec.Struct, frozen=True, kw_only=True):
    """Lowest, expected and highest price of a run."""

    low: Amount
    expected: Amount
    upper: Amount
