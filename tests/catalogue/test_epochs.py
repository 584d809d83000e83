"""The documented rule for `auto` epochs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.catalogue.epochs import default_epochs, epochs_reason


@pytest.mark.parametrize(
    ("examples", "epochs"),
    [
        (0, 0),
        (1, 25),
        (4, 25),
        (5, 20),
        (10, 10),
        (33, 3),
        (34, 3),
        (8_333, 3),
        (8_334, 2),
        (12_500, 2),
        (12_501, 1),
        (10**6, 1),
    ],
)
def test_rule(examples: int, epochs: int) -> None:
    assert default_epochs(examples) == epochs


@given(examples=st.integers(1, 10**7))
def test_bounds_and_reason(examples: int) -> None:
    epochs = default_epochs(examples)
    assert 1 <= epochs <= 25
    assert str(epochs) in epochs_reason(examples)
