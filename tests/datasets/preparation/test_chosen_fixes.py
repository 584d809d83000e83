"""The fixes that a request chooses: names, `safe` among them, `-` before those to leave out, and what contradicts."""

from __future__ import annotations

import pytest

from service.datasets.fixes import FIXES
from service.datasets.preparation.options import IMPLIED_FIXES, SAFE_FIXES, chosen_fixes
from service.datasets.preparation.refusals import PreparationRefused

SAFE = set(SAFE_FIXES)


@pytest.mark.parametrize(
    ("requested", "chosen"),
    [
        ("safe", SAFE),
        ("none", set()),
        (["none"], set()),
        ([], set()),
        ("mask_secrets", {"mask_secrets"}),
        (["mask_secrets", "lowercase"], {"mask_secrets", "lowercase"}),
        ("safe,mask_secrets", SAFE | {"mask_secrets"}),
        ("safe, +mask_secrets", SAFE | {"mask_secrets"}),
        (["safe", "mask_secrets"], SAFE | {"mask_secrets"}),
        (["safe", "+mask_secrets", "-drop_duplicates"], (SAFE | {"mask_secrets"}) - {"drop_duplicates"}),
        ("safe,-drop_duplicates", SAFE - {"drop_duplicates"}),
    ],
)
def test_are_added_and_left_out(requested: str | list[str], chosen: set[str]) -> None:
    assert chosen_fixes(requested) == tuple(name for name in FIXES if name in chosen)


@pytest.mark.parametrize(
    ("requested", "code", "words"),
    [
        ("safe,mask_secret", "unknown_fix", "There is no fix 'mask_secret'"),
        ("safe,-mask_secret", "unknown_fix", "There is no fix 'mask_secret'"),
        ("none,mask_secrets", "conflicting_parameters", "'none' chooses no fix"),
        (["none", "safe"], "conflicting_parameters", "'none' chooses no fix"),
        ("safe,mask_secrets,-mask_secrets", "conflicting_parameters", "'mask_secrets' is both chosen and left out"),
        ("safe,-strip_bom", "conflicting_parameters", "'strip_bom' cannot be left out"),
    ],
)
def test_that_contradict_each_other_are_named(requested: str | list[str], code: str, words: str) -> None:
    with pytest.raises(PreparationRefused) as refused:
        chosen_fixes(requested)
    assert (refused.value.code, refused.value.param) == (code, "fixes")
    assert words in refused.value.message


def test_implied_ones_are_safe() -> None:
    assert IMPLIED_FIXES < SAFE_FIXES
