"""Shares of the training data: how many examples, which ones, and what they can cost."""

import random

import msgspec
import pytest

from service.datasets.report_schema import Distribution, FileReport, Tokens
from service.experiments.shares import reports_of_share, share_size
from workers.experiments.shares import Filter, Numbers


def drawn(content: bytes, share: float, *, seed: int, chunk: int = 37) -> list[bytes]:
    """The lines of a share, read in chunks."""
    pieces = [*(content[at : at + chunk] for at in range(0, len(content), chunk)), b"\n"]
    numbers = Numbers(seed)
    for piece in pieces:
        numbers.feed(piece)
    chosen = Filter(seed, numbers.threshold(share))
    return b"".join(map(chosen.feed, pieces)).splitlines()


LINES = [f'{{"line": {number}}}'.encode() for number in range(101)]
CONTENT = b"\n".join(LINES)


def test_shares_have_their_size_and_are_nested_in_the_order_of_the_file() -> None:
    quarter, half, whole = (drawn(CONTENT, share, seed=3) for share in (0.25, 0.5, 1.0))
    assert (len(quarter), len(half), whole) == (26, 51, LINES)
    assert set(quarter) < set(half)
    assert half == [line for line in LINES if line in set(half)]


def test_no_share_is_empty() -> None:
    assert share_size(40, 1e-300) == 1
    assert len(drawn(CONTENT, 1e-300, seed=3)) == 1
    assert share_size(0, 0.5) == 0


def test_a_share_depends_on_the_seed_and_the_lines_but_not_on_their_order_or_the_chunks() -> None:
    half = drawn(CONTENT, 0.5, seed=3)
    assert drawn(CONTENT, 0.5, seed=3, chunk=1000) == half
    assert set(drawn(CONTENT, 0.5, seed=4)) != set(half)
    shuffled = random.Random(1).sample(LINES, k=len(LINES))
    assert set(drawn(b"\n".join(shuffled) + b"\r\n\r\n", 0.5, seed=3)) == set(half)


def test_equal_lines_are_in_or_out_together() -> None:
    repeated = [line for line in LINES for _ in range(3)]
    half = drawn(b"\n".join(repeated), 0.5, seed=3)
    assert {half.count(line) for line in half} == {3}
    assert share_size(len(repeated), 0.5) <= len(half) <= share_size(len(repeated), 0.5) + 2


def report(lengths: list[int]) -> FileReport:
    """A report of examples of so many tokens each."""
    spread = Distribution(min(lengths), max(lengths), 0.0, 0.0, 0.0, 0.0)
    tokens = Tokens("o200k_base", sum(lengths), 0, 0, spread, [])
    return FileReport(
        file_id="f", status="ready", progress=1.0, model="m", max_tokens=60, format="chat", bytes=0,
        examples=len(lengths), billable_tokens_per_epoch=sum(min(each, 60) for each in lengths), tokens=tokens,
    )  # fmt: skip


@pytest.mark.parametrize("share", [0.01, 0.25, 0.5, 0.9])
def test_no_draw_costs_less_than_the_lowest_or_more_than_the_highest(share: float) -> None:
    chance = random.Random(5)
    lengths = [chance.randint(5, 90) for _ in range(40)]
    low, expected, upper = reports_of_share(report(lengths), share)
    counts = {each.examples for each in (low, expected, upper)}
    assert counts == {share_size(40, share)}
    billed = sorted(min(each, 60) for each in lengths)
    assert low.billable_tokens_per_epoch <= sum(billed[: expected.examples])
    assert upper.billable_tokens_per_epoch >= sum(billed[-expected.examples :])
    assert low.billable_tokens_per_epoch <= expected.billable_tokens_per_epoch <= upper.billable_tokens_per_epoch


def test_the_whole_file_has_its_own_report() -> None:
    whole = report([5, 9])
    assert reports_of_share(whole, 1.0) == (whole, whole, whole)
    assert msgspec.structs.asdict(whole)["examples"] == 2
