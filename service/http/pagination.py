"""Lists as OpenAI pages them: a cursor `after` (an id), a `limit`, and `has_more`."""

from collections.abc import Callable, Sequence
from typing import Annotated, Generic, Literal, TypeVar

import msgspec

from service.errors import InvalidRequest
from service.http.bodies import RequestModel

Item = TypeVar("Item")
Row = TypeVar("Row")


class Page(msgspec.Struct, Generic[Item], frozen=True, kw_only=True):
    """One page of a list."""

    object: Literal["list"] = "list"
    data: list[Item]
    first_id: str | None
    last_id: str | None
    has_more: bool


class PageQuery(RequestModel, frozen=True, kw_only=True):
    """What every list takes."""

    after: str | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=100)] = 20


def page_of(rows: Sequence[Row], limit: int, show: Callable[[Row], Item], id_of: Callable[[Item], str]) -> Page[Item]:
    """A page from up to `limit + 1` rows: the one more says that there are more."""
    data = [show(row) for row in rows[:limit]]
    return Page(
        data=data,
        first_id=id_of(data[0]) if data else None,
        last_id=id_of(data[-1]) if data else None,
        has_more=len(rows) > limit,
    )


def unknown_cursor(after: str) -> InvalidRequest:
    """The refusal of an `after` that names nothing in this list."""
    return InvalidRequest(
        f"No item with id '{after}' in this list. Pass the last_id of the page before.",
        param="after",
        code="invalid_cursor",
    )
