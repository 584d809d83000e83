"""Rows that repeat each other, all at once, against looking at one row after the other."""

from __future__ import annotations

from array import array
from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.datasets.duplicates import exact

HASHES = st.sampled_from((0, 1, -1, 5, 2**63 - 1, -(2**63)))
ROWS = st.lists(st.tuples(HASHES, HASHES, HASHES, st.booleans()), max_size=40)
"""A row's prompt, answer and key, and whether its answer is long."""


@pytest.fixture(params=[3, 1_000_000], ids=["in parts", "at once"], autouse=True, scope="module")
def part_rows(request: pytest.FixtureRequest) -> object:
    """How many rows are sorted at once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exact, "PART_ROWS", request.param)
        yield request.param


@given(ROWS)
def test_the_same_key(rows: list[tuple[int, int, int, bool]]) -> None:
    seen: dict[int, int] = {}
    keys = [key for _, _, key, _ in rows]
    firsts = [seen.setdefault(key, row) for row, key in enumerate(keys)]
    expected = [(row, first) for row, first in enumerate(firsts) if first != row]
    assert list(exact.exact_duplicates(array("q", keys))) == expected


@given(ROWS)
def test_another_answer_to_the_same_prompt(rows: list[tuple[int, int, int, bool]]) -> None:
    seen: dict[int, int] = {}
    expected = []
    for row, (prompt, answer, key, _) in enumerate(rows):
        first = seen.setdefault(prompt, row)
        if prompt and answer != rows[first][1] and key != rows[first][2]:
            expected.append((row, first))
    prompts, answers, keys = (array("q", [one[at] for one in rows]) for at in range(3))
    assert list(exact.conflicting_answers(prompts, answers, keys)) == expected


@given(ROWS, st.integers(min_value=2, max_value=4))
def test_one_answer_to_several_prompts(rows: list[tuple[int, int, int, bool]], least: int) -> None:
    members: defaultdict[int, list[int]] = defaultdict(list)
    for row, (_, answer, _, is_long) in enumerate(rows):
        if is_long:
            members[answer].append(row)
    expected = sorted(
        (group[0], len(group)) for group in members.values() if len({rows[row][0] for row in group}) >= least
    )
    prompts, answers = (array("q", [one[at] for one in rows]) for at in range(2))
    long = array("b", [one[3] for one in rows])
    found = exact.identical_answers(answers, long, prompts, least)
    assert [tuple(group) for group in found] == expected
