"""Early stopping of arms: by their median or by successive halving, never for noise, and in any order."""

import math
import random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.jobs.curves.curve import Curve, StepLosses
from service.jobs.curves.early_stopping import EarlyStopping, HalvingStopping, MedianStopping, explain, stop_reason

STEPS = 200


def arm(end: float, *, noise: float = 0.0, until: int = STEPS, seed: int = 0, total: int | None = STEPS) -> Curve:
    """A validation loss that falls from 2 to `end`."""
    rng = random.Random(f"{end} {seed}")
    losses = [end + (2 - end) * math.exp(-step / 40) for step in range(until)]
    steps = [StepLosses(at, 1.0, loss * math.exp(rng.gauss(0, noise))) for at, loss in enumerate(losses, 1)]
    return Curve(steps, total)


OTHERS = [arm(1.0), arm(1.1), arm(1.2), arm(1.3)]
MEDIAN, HALVING = MedianStopping(), HalvingStopping(reduction_factor=2, after=0.25)


def test_the_median_rule_stops_an_arm_above_the_median_and_says_why() -> None:
    assert stop_reason(MEDIAN, arm(1.6, until=130), OTHERS, arms=5) == (
        "At 60% of its training its validation loss is 1.63, above the median of the other 4 arms there, 1.21."
    )
    assert stop_reason(MEDIAN, arm(1.1, until=130), OTHERS, arms=5) is None


@pytest.mark.parametrize(
    ("own", "others", "why"),
    [
        (arm(1.6, until=59), OTHERS, "before its grace period"),
        (arm(1.6, until=130, total=None), OTHERS, "its length is not known"),
        (arm(1.17, until=130), [arm(1.15), arm(1.16), arm(1.17)], "less than 2 % apart"),
        (arm(1.25, until=130, noise=0.4), [arm(1.1, noise=0.4, seed=seed) for seed in range(4)], "noise"),
        (Curve([StepLosses(step, 3.0) for step in range(1, 150)], STEPS), OTHERS, "no validation losses"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.parametrize("rule", [MEDIAN, HalvingStopping(reduction_factor=2, after=0.3)], ids=["median", "halving"])
def test_an_arm_continues_while_its_rule_cannot_say(
    rule: EarlyStopping, own: Curve, others: list[Curve], why: str
) -> None:
    assert stop_reason(rule, own, others, arms=len(others) + 1) is None, why


@pytest.mark.parametrize("others", [OTHERS[:2], [arm(1.0, until=100)] * 4], ids=["too few", "none as far"])
def test_the_median_needs_three_other_arms_at_the_same_share(others: list[Curve]) -> None:
    assert stop_reason(MEDIAN, arm(1.6, until=130), others, arms=5) is None


def test_successive_halving_continues_the_best_half_at_each_level() -> None:
    arms = [arm(1.0), arm(1.2), arm(1.4), arm(1.6), arm(1.8), arm(1.9)]
    stopped: dict[int, tuple[int, str]] = {}
    for until in (50, 100):
        for index, each in enumerate(arms):
            own = Curve(each.steps[:until], STEPS)
            others = [Curve(other.steps[:until], STEPS) for at, other in enumerate(arms) if at != index]
            if (reason := stop_reason(HALVING, own, others, arms=6)) is not None:
                stopped.setdefault(index, (until, reason))
    assert sorted(stopped) == [2, 3, 4, 5]
    assert [stopped[index][0] for index in sorted(stopped)] == [100, 50, 50, 50]
    assert stopped[3][1] == (
        "At 25% of its training its validation loss is 1.75; 3 of 6 arms had a lower one there (from 1.38), and 3 of 6 "
        "continue."
    )


@settings(max_examples=30, deadline=None)
@given(st.permutations(range(6)), st.sampled_from([MEDIAN, HALVING]))
def test_the_order_of_the_other_arms_does_not_matter(order: list[int], rule: EarlyStopping) -> None:
    arms = [arm(1 + index / 10, noise=0.05, seed=index) for index in range(6)]
    own = arm(1.45, until=110, noise=0.05)
    assert stop_reason(rule, own, [arms[index] for index in order], arms=7) == stop_reason(rule, own, arms, arms=7)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([MEDIAN, HALVING]))
def test_of_equal_arms_noise_stops_none(seed: int, rule: EarlyStopping) -> None:
    arms = [arm(1.2, noise=0.2, seed=seed * 10 + index) for index in range(5)]
    for index, own in enumerate(arms):
        others = arms[:index] + arms[index + 1 :]
        assert stop_reason(rule, Curve(own.steps[:150], STEPS), others, arms=5) is None


def test_the_whole_files_loss_counts_only_where_both_arms_have_measured_it_lately() -> None:
    def epochs(losses: dict[int, float]) -> Curve:
        return Curve([StepLosses(step, 1.0, None, losses.get(step)) for step in range(1, STEPS + 1)], STEPS)

    worse = epochs({100: 1.5, 200: 1.4})
    same_epochs = [epochs({100: 1.0 + index / 100, 200: 0.9}) for index in range(3)]
    other_epochs = [epochs({66: 1.0 + index / 100, 133: 0.9, 200: 0.8}) for index in range(3)]
    own = Curve(worse.steps[:105], STEPS)
    assert stop_reason(MEDIAN, own, same_epochs, arms=4) is not None
    assert stop_reason(MEDIAN, own, other_epochs, arms=4) is None


def test_an_arm_whose_training_loss_is_no_number_is_stopped_by_either_rule() -> None:
    own = Curve([StepLosses(step, math.nan if step > 10 else 1.0) for step in range(1, 20)], STEPS)
    for rule in (MEDIAN, HALVING):
        assert stop_reason(rule, own, [], arms=3) == "Since step 11 its training loss is no finite number."


def test_rules_are_read_by_their_name_within_their_bounds_and_explain_themselves() -> None:
    assert msgspec.json.decode(b'{"rule": "median", "after": 0.5}', type=EarlyStopping) == MedianStopping(after=0.5)
    assert explain(MEDIAN) == (
        "From 30% of its training an arm is stopped if its validation loss is above the median of the other arms at "
        "the same share, of 3 at least, beyond its noise."
    )
    assert explain(HALVING) == (
        "After 25%, 50% of the training the best 1/2 of the arms by validation loss continue, and those that cannot be "
        "distinguished from them; the others are stopped."
    )
    for body in (b'{"rule": "median", "after": 1}', b'{"rule": "successive_halving", "reduction_factor": 1}', b"{}"):
        with pytest.raises(msgspec.ValidationError):
            msgspec.json.decode(body, type=EarlyStopping)
