"""Time buckets of costs and usage, and their pages. Pure.

A bucket begins at a whole minute, hour or day in UTC. A page's name encodes where it begins and a digest of its query,
so the page of another query is refused.
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


class _Position(msgspec.Struct, array_like=True, frozen=True):
    begin: int
    end: int
    query: str


@dataclass(frozen=True, slots=True)
class Bucket:
    """A time bucket: from `begin` up to, but not including, `end`, in Unix seconds."""

    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class Span:
    """The buckets of a page, and the name of the next page if there is one."""

    buckets: Sequence[Bucket]
    next_page: str | None


def span(
    *, start: int, end: int | None, now: int, width: Width, limit: int, page: str | None, query: bytes, whole: bool
) -> Span:
    """The buckets of one page.

    `whole`: the first and the last bucket are complete; otherwise `start` and `end` cut them. `query` identifies the
    query. Raises `InvalidRequest` for an empty range, and for the page of another query.
    """
    if end is not None and end <= start:
        raise InvalidRequest("'end_time' must be after 'start_time'.", param="end_time")
    digest = hashlib.sha256(query).hexdigest()[:16]
    position = _Position(start, now + 1 if end is None else end, digest) if page is None else _decoded(page, digest)
    seconds = SECONDS[width]
    first = position.begin // seconds * seconds
    buckets = []
    for begin in range(first, min(position.end, first + limit * seconds), seconds):
        if whole or end is None:
            buckets.append(Bucket(begin if whole else max(begin, start), begin + seconds))
        else:
            buckets.append(Bucket(max(begin, start), min(begin + seconds, end)))
    next_begin = first + limit * seconds
    more = next_begin < position.end
    return Span(buckets, _encoded(_Position(next_begin, position.end, digest)) if more else None)


def _encoded(position: _Position) -> str:
    return _PREFIX + base64.urlsafe_b64encode(msgspec.json.encode(position)).decode().rstrip("=")


def _decoded(page: str, digest: str) -> _Position:
    text = page.removeprefix(_PREFIX)
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        position = msgspec.json.decode(raw, type=_Position)
    except (binascii.Error, ValueError, msgspec.DecodeError):
        position = None
    if position is None or position.query != digest or not 0 <= position.begin < position.end <= LATEST:
        raise InvalidRequest(
            "This page belongs to another query. Pass the 'next_page' of the last response, with the same parameters.",
            param="page",
            code="invalid_cursor",
        )
    return position
