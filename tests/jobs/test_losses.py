"""The summary of losses: whichever way the steps arrive, it is that of all of them."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from service.database.tables import Job
from service.jobs.losses import Loss, Losses, columns_of, losses_of, with_steps

NONE = Losses(None, None, valid_is_full=False)
Step = tuple[int, dict[str, float | None]]

losses = st.none() | st.sampled_from([0.1, 0.5, 0.5000001, 2.0, 1e30])
figures = st.fixed_dictionaries(dict.fromkeys(("train_loss", "valid_loss", "full_valid_loss"), losses))
steps = st.dictionaries(st.integers(0, 40), figures, max_size=20).map(lambda found: list(found.items()))


def test_the_last_and_the_first_lowest() -> None:
    found = with_steps(NONE, [(step, {"train_loss": loss}) for step, loss in enumerate([3.0, 1.0, 2.0, 1.0, 4.0], 1)])
    assert found == Losses(Loss(final=4.0, final_step=5, best=1.0, best_step=2), None, valid_is_full=False)


def test_losses_of_batches_do_not_count_beside_those_of_the_whole_validation_file() -> None:
    batches = with_steps(NONE, [(1, {"valid_loss": 0.1}), (2, {"valid_loss": 0.9})])
    assert batches.valid == Loss(0.9, 2, 0.1, 1)
    whole = with_steps(batches, [(3, {"valid_loss": 0.2, "full_valid_loss": 0.6}), (4, {"valid_loss": 0.01})])
    assert (whole.valid, whole.valid_is_full) == (Loss(0.6, 3, 0.6, 3), True)


@given(steps, st.randoms(use_true_random=False), st.integers(0, 20))
def test_steps_in_any_order_and_in_parts_and_again_have_one_summary(made: list[Step], chance: Any, cut: int) -> None:
    in_order = with_steps(NONE, sorted(made, key=lambda step: step[0]))
    chance.shuffle(made)
    assert with_steps(with_steps(NONE, made[:cut]), made[cut:]) == in_order
    assert with_steps(in_order, made) == in_order


@given(steps)
def test_a_job_s_row_keeps_them(made: list[Step]) -> None:
    found = with_steps(NONE, made)
    assert losses_of(Job(**columns_of(found))) == found
