"""Buckets and their pages: nothing twice, nothing left out."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from service.billing.buckets import SECONDS, Bucket, Width, span

DAY = 86_400
START = 1_790_000_000
widths: st.SearchStrategy[Width] = st.sampled_from(["1m", "1h", "1d"])


def pages(*, start: int, end: int | None, now: int, width: Width, limit: int, whole: bool) -> list[list[Bucket]]:
    """All pages."""
    found, page = [], None
    while True:
        one = span(start=start, end=end, now=now, width=width, limit=limit, page=page, query=b"q", whole=whole)
        found.append(list(one.buckets))
        page = one.next_page
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
