"""Buckets of time, as costs and usage are given in, and the pages of them. Pure.

A bucket begins at a whole minute, hour or day in UTC. A page is named by where it goes on and by the query that it
belongs to, so a page of another query is refused.
"""

import base64
import binascii
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec

from service.errors import InvalidRequest

Width = Literal["1m", "1h", "1d"]
SECONDS: dict[Width, int] = {"1m": 60, "1h": 3_600, "1d": 86_400}
LATEST = 32_503_680_000
"""The year 3000, in Unix seconds."""

_PREFIX = "page_"


class _Place(msgspec.Struct, array_like=True, frozen=True):
    begin: int
    end: int
    query: str


@dataclass(frozen=True, slots=True)
class Bucket:
    """From `begin` to before `end`, Unix seconds."""

    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class Span:
    """What a page covers, and the name of the next page if there is one."""

    buckets: Sequence[Bucket]
    next_page: str | None


def span(
    *, start: int, end: int | None, now: int, width: Width, limit: int, page: str | None, query: bytes, whole: bool
) -> Span:
    """The buckets of one page.

    `whole`: the first and the last bucket are shown in full, else as far as `start` and `end` go. `query` is what
    makes this query this query. Raises `InvalidRequest` for a range that is none, and for a page of another query.
    """
    if end is not None and end <= start:
        raise InvalidRequest("'end_time' must be after 'start_time'.", param="end_time")
    digest = hashlib.sha256(query).hexdigest()[:16]
    place = _Place(start, now + 1 if end is None else end, digest) if page is None else _opened(page, digest)
    seconds = SECONDS[width]
    first = place.begin // seconds * seconds
    buckets = []
    for begin in range(first, min(place.end, first + limit * seconds), seconds):
        if whole or end is None:
            buckets.append(Bucket(begin if whole else max(begin, start), begin + seconds))
        else:
            buckets.append(Bucket(max(begin, start), min(begin + seconds, end)))
    going_on = first + limit * seconds
    more = going_on < place.end
    return Span(buckets, _named(_Place(going_on, place.end, digest)) if more else None)


def _named(place: _Place) -> str:
    return _PREFIX + base64.urlsafe_b64encode(msgspec.json.encode(place)).decode().rstrip("=")


def _opened(page: str, digest: str) -> _Place:
    text = page.removeprefix(_PREFIX)
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        place = msgspec.json.decode(raw, type=_Place)
    except (binascii.Error, ValueError, msgspec.DecodeError):
        place = None
    if place is None or place.query != digest or not 0 <= place.begin < place.end <= LATEST:
        raise InvalidRequest(
            "This page belongs to no such query. Pass the 'next_page' of the answer before, with the same parameters.",
            param="page",
            code="invalid_cursor",
        )
    return place
