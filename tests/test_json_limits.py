"""Limits of JSON: depth and values are counted outside of strings, whatever the strings contain."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.json_limits import MAX_DEPTH, MAX_VALUES, PIECE_BYTES, JsonLimitExceeded, check

TEXTS = st.text(alphabet='\\"[]{},:a\n', max_size=8)
VALUES = st.recursive(
    st.none() | st.integers(-9, 9) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=30,
)


def depth(value: Any) -> int:
    """How deep a value is nested; 0 for a scalar."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(depth, inner), default=0)


def size(value: Any) -> int:
    """How many values there are."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + sum(map(size, inner))


def accepts(raw: bytes, **limits: int) -> bool:
    """Whether the limits allow the JSON."""
    try:
        check(raw, **limits)
    except JsonLimitExceeded:
        return False
    return True


@given(VALUES)
def test_exact_depth(value: Any) -> None:
    raw, deep = json.dumps(value).encode(), depth(value)
    assert accepts(raw, max_depth=deep)
    assert deep == 0 or not accepts(raw, max_depth=deep - 1)


@given(VALUES)
def test_values_are_never_undercounted(value: Any) -> None:
    raw, values = json.dumps(value).encode(), size(value)
    assert check(raw) >= values
    assert values == 1 or not accepts(raw, max_values=values - 1)


@pytest.mark.parametrize("shift", range(4))
@pytest.mark.parametrize("escaped", ['\\"', "\\\\", '\\\\\\"'])
def test_escapes_at_the_end_of_a_piece(shift: int, escaped: str) -> None:
    """A quote that is escaped does not end its string, wherever the pieces are cut."""
    padding = "a" * (PIECE_BYTES - len(escaped) - shift)
    raw = f'["{padding}{escaped}' + "[," * 300 + '"]'
    assert json.loads(raw)
    assert check(raw.encode(), max_depth=1, max_values=10) == 2


@pytest.mark.parametrize(
    ("raw", "limit"),
    [
        (b"[" * 200 + b"]" * 200, "128 levels"),
        (b'{"a":' * 129 + b"1" + b"}" * 129, "128 levels"),
        (b"[" + b"1," * MAX_VALUES + b"1]", "250,000 values"),
        (b"[" + b"[]," * MAX_VALUES + b"1]", "250,000 values"),
    ],
    ids=["lists", "objects", "numbers", "empty lists"],
)
def test_above(raw: bytes, limit: str) -> None:
    with pytest.raises(JsonLimitExceeded, match=limit):
        check(raw)


def test_honest() -> None:
    """The longest prompt of token ids, the deepest schema, and a long text of commas and brackets."""
    assert accepts(json.dumps({"prompt": list(range(128_000))}).encode())
    assert accepts(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH)
    assert accepts(json.dumps(["[{,}]" * 200_000]).encode())
