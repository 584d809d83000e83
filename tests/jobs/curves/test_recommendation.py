"""The recommended arm: the best by scores or validation losses, of equals the cheaper."""

import pytest

from service.jobs.curves.recommendation import ArmResult, recommend
from service.runs.comparisons.statistics import Estimate


def result(
    arm: int, loss: float | None, *, dollars: float = 1.0, score: tuple[float, float, float] | None = None
) -> ArmResult:
    estimate = Estimate(value=score[0], low=score[1], high=score[2]) if score else None
    return ArmResult(arm=arm, valid_loss=loss, cost_micros=round(dollars * 1e6), score=estimate)


def test_the_lowest_validation_loss_is_recommended() -> None:
    found = recommend([result(1, 1.2), result(2, 1.0, dollars=9), result(3, 1.1)])
    assert found is not None
    assert (found.arm, found.by, found.tied) == (2, "valid_loss", [])
    assert found.reason == "Arm 2 has the lowest validation loss of the 3 arms, 1; the next has 1.1."


def test_of_arms_that_cannot_be_distinguished_the_cheaper_one_is_recommended() -> None:
    found = recommend([result(1, 1.005, dollars=2), result(2, 1.0, dollars=9), result(3, 1.1, dollars=0.5)])
    assert found is not None
    assert (found.arm, found.tied) == (1, [2])
    assert found.reason == (
        "Arm 1 has a validation loss of 1 and cost $2.00. Arm 2 is not distinguishable from it by validation losses 2% "
        "apart; it is the cheapest of them."
    )


def test_scores_decide_before_validation_losses() -> None:
    arms = [result(1, 0.5, score=(0.40, 0.35, 0.45)), result(2, 0.9, score=(0.70, 0.65, 0.75), dollars=5)]
    found = recommend(arms)
    assert found is not None
    assert (found.arm, found.by, found.tied) == (2, "score", [])
    assert found.reason == (
        "Arm 2 has the highest score of the 2 arms, 0.70 (0.65 to 0.75); the next has 0.40 (0.35 to 0.45)."
    )


def test_scores_whose_intervals_leave_it_open_are_a_tie() -> None:
    arms = [result(1, 0.5, score=(0.66, 0.60, 0.72)), result(2, 0.9, score=(0.70, 0.64, 0.76), dollars=5)]
    found = recommend(arms)
    assert found is not None
    assert (found.arm, found.tied) == (1, [2])
    assert "not distinguishable from it by the intervals of the scores" in found.reason


def test_an_arm_with_one_case_ties_with_every_other() -> None:
    single = ArmResult(arm=1, valid_loss=None, cost_micros=1, score=Estimate(value=0.1, low=None, high=None))
    found = recommend([single, result(2, None, score=(0.9, 0.85, 0.95))])
    assert found is not None
    assert (found.arm, found.tied) == (1, [2])


def test_of_equal_arms_of_equal_cost_the_better_figure_and_then_the_first_is_recommended() -> None:
    found = recommend([result(1, 1.01), result(2, 1.0), result(3, 1.0)])
    assert found is not None
    assert (found.arm, found.tied) == (2, [1, 3])
    assert found.reason.endswith("all cost the same, and it has the best figure.")


@pytest.mark.parametrize("arms", [[], [result(1, None)], [result(1, float("nan")), result(2, None)]])
def test_without_figures_no_arm_is_recommended(arms: list[ArmResult]) -> None:
    assert recommend(arms) is None


def test_the_only_arm_is_recommended_as_such() -> None:
    found = recommend([result(4, 1.3)])
    assert found is not None
    assert found.reason == "Arm 4 is the only one with a figure to decide by: its validation loss of 1.3."


def test_one_score_among_several_arms_does_not_decide() -> None:
    found = recommend([result(1, 0.5), result(2, 0.9, score=(0.7, 0.6, 0.8))])
    assert found is not None
    assert (found.arm, found.by) == (1, "valid_loss")
