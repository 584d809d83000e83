"""Pages of lists in OpenAI's form: a cursor `after` (an id), a `limit`, and `has_more`."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from service.http.wire_types import Item, Page

Row = TypeVar("Row")


def page_of(rows: Sequence[Row], limit: int, show: Callable[[Row], Item], id_of: Callable[[Item], str]) -> Page[Item]:
    """A page from up to `limit + 1` rows; the extra row is not shown and means that there are more."""
    data = [show(row) for row in rows[:limit]]
    return Page(
        data=data,
        first_id=id_of(data[0]) if data else None,
        last_id=id_of(data[-1]) if data else None,
        has_more=len(rows) > limit,
    )
