"""Time buckets of costs and usage, and their pages. Pure.

A bucket begins at a whole minute, hour or day in UTC. A page's name encodes the range that is left and a digest of its
query, so the page of another query is refused.
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
Order = Literal["asc", "desc"]
SECONDS: dict[Width, int] = {"1m": 60, "1h": 3_600, "1d": 86_400}
LATEST = 32_503_680_000
"""The year 3000, in Unix seconds."""

_UNITS = {"m": 60, "h": 3_600, "d": 86_400, "w": 7 * 86_400}
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
    """The buckets that a page may cover, in its order: the earliest first, or the latest first."""

    buckets: Sequence[Bucket]
    position: _Position
    seconds: int
    order: Order

    def next_page(self, count: int) -> str | None:
        """The name of the page that follows the first `count` buckets, None if nothing is left of the range."""
        left = self.position
        if self.order == "asc":
            begin = left.begin // self.seconds * self.seconds + count * self.seconds
            following = _Position(begin, left.end, left.query)
        else:
            end = (left.end - 1) // self.seconds * self.seconds + (1 - count) * self.seconds
            following = _Position(left.begin, end, left.query)
        return _encoded(following) if following.begin < following.end else None


def length_of(since: str) -> int:
    """The seconds of a length of time such as `90m`, `24h`, `7d` or `4w`.

    >>> length_of("7d")
    604800
    """
    return int(since[:-1]) * _UNITS[since[-1]]


def start_of(since: str, *, now: int, width: Width) -> int:
    """Where the last `since` begins whose newest bucket is that of `now`: `7d` are seven days, today included."""
    seconds = SECONDS[width]
    newest = now // seconds * seconds
    return max(0, min(newest, (newest + seconds - length_of(since)) // seconds * seconds))


def span(
    *,
    start: int,
    end: int | None,
    now: int,
    width: Width,
    limit: int,
    page: str | None,
    query: bytes,
    whole: bool,
    order: Order = "asc",
) -> Span:
    """The up to `limit` buckets of one page.

    `whole`: the first and the last bucket are complete; otherwise `start` and `end` cut them. `query` identifies the
    query. Raises `InvalidRequest` for an empty range, and for the page of another query.
    """
    if end is not None and end <= start:
        raise InvalidRequest("'end_time' must be after 'start_time'.", param="end_time")
    digest = hashlib.sha256(query).hexdigest()[:16]
    left = _Position(start, now + 1 if end is None else end, digest) if page is None else _decoded(page, digest)
    seconds = SECONDS[width]
    first, last = left.begin // seconds * seconds, (left.end - 1) // seconds * seconds
    begins = range(first, last + 1, seconds) if order == "asc" else range(last, first - 1, -seconds)
    buckets = []
    for begin in begins[:limit]:
        after = begin + seconds
        if whole:
            buckets.append(Bucket(begin, after))
        else:
            buckets.append(Bucket(max(begin, left.begin), after if end is None else min(after, left.end)))
    return Span(buckets, left, seconds, order)


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
