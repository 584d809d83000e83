"""Buckets and their pages: nothing twice, nothing left out."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.billing.buckets import SECONDS, Bucket, Order, Width, span, start_of

DAY = 86_400
START = 1_790_000_000
widths: st.SearchStrategy[Width] = st.sampled_from(["1m", "1h", "1d"])


def pages(
    *, start: int, end: int | None, now: int, width: Width, limit: int, whole: bool, order: Order = "asc"
) -> list[list[Bucket]]:
    """All pages."""
    found, page = [], None
    while True:
        one = span(
            start=start, end=end, now=now, width=width, limit=limit, page=page, query=b"q", whole=whole, order=order
        )
        found.append(list(one.buckets))
        page = one.next_page(len(one.buckets))
        if page is None:
            return found


class TestPages:
    @given(st.integers(0, 10 * DAY), st.integers(1, 5 * DAY), st.integers(1, 40), st.booleans())
    def test_cover_the_range_once(self, offset: int, length: int, limit: int, whole: bool) -> None:
        start = START + offset
        found = pages(start=start, end=start + length, now=0, width="1h", limit=limit, whole=whole)
        assert all(len(page) == limit for page in found[:-1])
        buckets = [bucket for page in found for bucket in page]
        assert all(one.end == next_.begin for one, next_ in pairwise(buckets))
        if whole:
            assert buckets[0].begin <= start < buckets[0].end
            assert buckets[-1].begin < start + length <= buckets[-1].end
        else:
            assert (buckets[0].begin, buckets[-1].end) == (start, start + length)

    @given(widths)
    def test_without_an_end_go_up_to_now(self, width: Width) -> None:
        [page] = pages(start=START, end=None, now=START + 5 * SECONDS[width], width=width, limit=31, whole=False)
        assert page[0].begin == START
        assert page[-1].begin <= START + 5 * SECONDS[width] < page[-1].end

    def test_a_start_in_the_future_is_empty(self) -> None:
        assert pages(start=START + DAY, end=None, now=START, width="1d", limit=7, whole=True) == [[]]


class TestOrder:
    @given(st.integers(0, 10 * DAY), st.integers(1, 5 * DAY), st.integers(1, 40), st.booleans())
    def test_the_latest_first_has_the_same_buckets(self, offset: int, length: int, limit: int, whole: bool) -> None:
        start, end = START + offset, START + offset + length
        up, down = (
            [
                bucket
                for page in pages(start=start, end=end, now=0, width="1h", limit=limit, whole=whole, order=order)
                for bucket in page
            ]
            for order in ("asc", "desc")
        )
        assert down == up[::-1]

    @given(st.integers(0, 5 * DAY), st.integers(1, 40))
    def test_without_an_end_too(self, length: int, limit: int) -> None:
        up, down = (
            [
                bucket
                for page in pages(
                    start=START, end=None, now=START + length, width="1h", limit=limit, whole=False, order=order
                )
                for bucket in page
            ]
            for order in ("asc", "desc")
        )
        assert down == up[::-1]

    def test_a_page_that_showed_less_continues_where_it_ended(self) -> None:
        whole = span(
            start=START,
            end=None,
            now=START + 3 * DAY,
            width="1d",
            limit=4,
            page=None,
            query=b"q",
            whole=True,
            order="desc",
        )
        rest = span(
            start=START,
            end=None,
            now=START + 9 * DAY,
            width="1d",
            limit=4,
            page=whole.next_page(1),
            query=b"q",
            whole=True,
            order="desc",
        )
        assert list(rest.buckets) == list(whole.buckets)[1:]


class TestSince:
    @pytest.mark.parametrize(
        ("since", "width", "expected"),
        [
            ("7d", "1d", 7),
            ("1w", "1d", 7),
            ("1d", "1d", 1),
            ("5m", "1d", 1),
            ("24h", "1h", 24),
            ("90m", "1h", 2),
            ("1h", "1m", 60),
        ],
    )
    def test_ends_with_the_bucket_of_now(self, since: str, width: Width, expected: int) -> None:
        for now in (START, START // DAY * DAY, START // DAY * DAY + DAY - 1):
            start = start_of(since, now=now, width=width)
            [page] = pages(start=start, end=None, now=now, width=width, limit=1000, whole=False)
            assert len(page) == expected
            assert page[-1].begin <= now < page[-1].end

    def test_begins_no_earlier_than_unix_time(self) -> None:
        assert start_of("9999w", now=START, width="1d") == 0
