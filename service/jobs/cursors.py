"""Cursors of lists that are sorted by a figure: a job's id, with the figure that it had. Pure.

An id alone is a cursor too, as in OpenAI's lists; the page then begins after the job's figure of now. While the job
runs, that may have changed since the last page, so that jobs are left out or repeated. With the figure, every job whose
own figure stays the same is on exactly one page.
"""

import datetime as dt
import math
from typing import NamedTuple

from service.errors import InvalidRequest

Value = int | float | None

_MAX_WHOLE = 2**63
_MAX_SECONDS = 10**11


class Cursor(NamedTuple):
    """The last job of a page, its figure there, and the time at which the figures of running jobs were taken."""

    job_id: str
    figure: Value
    moment: dt.datetime
    has_figure: bool


def cursor_text(job_id: str, sort: str, figure: Value, moment: dt.datetime) -> str:
    """A cursor as callers get it."""
    return f"{job_id}:{sort}:{'null' if figure is None else repr(figure)}:{moment.timestamp()!r}"


def parse_cursor(after: str, *, sort: str, is_whole: bool, now: dt.datetime) -> Cursor | None:
    """The cursor that a caller gives, an id or the text of one; None for anything else.

    `is_whole`: the list is sorted by whole numbers. Raises `InvalidRequest` for a cursor of a list with another sort,
    whose figure says nothing here.
    """
    job_id, *rest = after.split(":")
    if not rest:
        return Cursor(job_id, None, now, has_figure=False)
    if len(rest) == 3 and rest[0] != sort:
        raise InvalidRequest(
            f"The cursor is of a list with another `sort`, and this one is sorted by '{sort}'. Request all pages with "
            "the same `sort`.",
            param="after",
            code="invalid_cursor",
        )
    try:
        _, figure, seconds = rest
        moment = float(seconds)
        value = None if figure == "null" else int(figure) if is_whole else float(figure)
    except ValueError:
        return None
    is_storable = value is None or (abs(value) < _MAX_WHOLE if isinstance(value, int) else math.isfinite(value))
    if not is_storable or not 0 <= moment <= _MAX_SECONDS:
        return None
    return Cursor(job_id, value, dt.datetime.fromtimestamp(moment, dt.UTC), has_figure=True)
