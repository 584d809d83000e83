"""Properties of verdicts: they depend on a curve's shape, and not on its scale, its gaps or the order of its points."""

import math
import random
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from service.jobs.curves.curve import Curve, StepLosses
from service.jobs.curves.verdict import Verdict, verdict
from tests.jobs.curves.made import ENDED, KINDS, made

CURVES = st.builds(
    made,
    st.sampled_from([kind for kinds in KINDS.values() for kind in kinds]),
    length=st.integers(4, 150),
    noise=st.sampled_from([0.0, 0.02, 0.1, 0.3]),
    seed=st.integers(0, 10_000),
    valid_every=st.sampled_from([1, 5]),
    full=st.booleans(),
)
FEW = settings(max_examples=60, deadline=None)


def shape_of(found: Verdict | None) -> object:
    return found and (found.kind, found.step, found.recommended_checkpoint, found.advice)


def scaled(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor


@FEW
@given(CURVES, st.sampled_from([2.0**-20, 0.125, 4.0, 2.0**20]))
def test_a_verdict_does_not_depend_on_the_scale_of_the_losses(curve: Curve, factor: float) -> None:
    larger = [StepLosses(each.step, *(scaled(value, factor) for value in each[1:])) for each in curve.steps]
    assert shape_of(verdict(Curve(larger, curve.total_steps), ENDED)) == shape_of(verdict(curve, ENDED))


@FEW
@given(CURVES, st.randoms(use_true_random=False))
def test_a_verdict_does_not_depend_on_the_order_of_the_points(curve: Curve, rng: random.Random) -> None:
    steps = list(curve.steps)
    rng.shuffle(steps)
    assert verdict(Curve(steps, curve.total_steps), ENDED) == verdict(curve, ENDED)


@FEW
@given(CURVES, st.sets(st.integers(1, 150)), st.sampled_from([None, math.nan, math.inf]))
def test_points_without_a_finite_loss_change_nothing(curve: Curve, gaps: set[int], nothing: float | None) -> None:
    """Validation losses anywhere, and training losses before the last step that has one."""
    last = curve.last_step
    empty = [StepLosses(gap, nothing if gap < last else None, nothing, nothing) for gap in gaps if gap <= last]
    assert verdict(Curve([*curve.steps, *empty], curve.total_steps), ENDED) == verdict(curve, ENDED)


@FEW
@given(CURVES)
def test_a_recommended_checkpoint_exists_and_only_these_kinds_have_one(curve: Curve) -> None:
    names = {step: f"ckpt-{step}" for step in (10, 20, 100)}
    found = verdict(curve, replace(ENDED, checkpoints=names))
    if found is not None and found.recommended_checkpoint is not None:
        assert found.kind in ("over_fitted", "diverged")
        assert found.recommended_checkpoint in names.values()


@FEW
@given(
    st.lists(
        st.builds(StepLosses, st.integers(0, 10**9), *[st.none() | st.floats(allow_nan=True, allow_infinity=True)] * 3),
        max_size=40,
    ),
    st.none() | st.integers(1, 10**9),
    st.sampled_from(["supervised", "dpo", "reinforcement"]),
    st.booleans(),
)
def test_any_curve_has_a_verdict_or_none(steps: list[StepLosses], total: int | None, method: str, ended: bool) -> None:
    found = verdict(Curve(steps, total), replace(ENDED, method=method, has_ended=ended))
    assert found is None or len(found.message) < 1_000
