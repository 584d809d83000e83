"""Base types of the API: request bodies and queries, and pages of lists. Pure."""

import datetime as dt
from typing import Annotated, Generic, Literal, TypeVar

import msgspec

Item = TypeVar("Item")


class RequestModel(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The base of every request body and query; unknown fields are refused."""


class NoFields(RequestModel, frozen=True, kw_only=True):
    """A body or query without fields."""


class Page(msgspec.Struct, Generic[Item], frozen=True, kw_only=True):
    """One page of a list."""

    object: Literal["list"] = "list"
    data: list[Item]
    first_id: str | None
    last_id: str | None
    has_more: bool


class PageQuery(RequestModel, frozen=True, kw_only=True):
    """The query parameters of every list."""

    after: str | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=100)] = 20


def unix(moment: dt.datetime) -> int:
    """Seconds since the epoch, as OpenAI's API gives times."""
    return int(moment.timestamp())
