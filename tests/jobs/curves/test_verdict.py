"""Verdicts on made curves of each kind, and what they say and advise.

The confusion over ten seeds of every curve, length (20 to 2,000 steps) and noise of `made.py`, with `full_valid_loss`
at the ends of four epochs (`python -m tests.jobs.curves.made` prints it):

    curve          noise converging  still_falling  over_fitted  diverged  nothing_learnt  too_noisy  none
    converging        0%        200              -            -         -               -          -     -
    converging        2%        200              -            -         -               -          -     -
    converging       10%        197              -            -         -               -          3     -
    converging       30%        170              -            -         -               6         24     -
    still_falling     0%          -            120            -         -               -          -     -
    still_falling     2%          -            120            -         -               -          -     -
    still_falling    10%          5            114            -         -               -          1     -
    still_falling    30%         15             81            -         -               -         24     -
    over_fitted       0%          -              -          120         -               -          -     -
    over_fitted       2%          -              -          120         -               -          -     -
    over_fitted      10%          -              -          120         -               -          -     -
    over_fitted      30%          -              -          120         -               -          -     -
    diverged          0%          -              -            -       120               -          -     -
    diverged          2%          -              -            -       120               -          -     -
    diverged         10%          -              -            1       117               1          1     -
    diverged         30%          1              -           15        87               7         10     -
    nothing_learnt    0%          -              -            -         -              80          -     -
    nothing_learnt    2%          1              -            -         -              78          1     -
    nothing_learnt   10%          1              -            -         -              48         31     -
    nothing_learnt   30%          1              -            -         1              14         64     -
    too_noisy        60%          -              -            -         -               2         28     -
"""

import math
from dataclasses import replace

import pytest

from service.jobs.curves.advice import Settings
from service.jobs.curves.curve import MAX_POINTS, Curve, StepLosses, series
from service.jobs.curves.verdict import Training, verdict
from tests.jobs.curves.made import ENDED, KINDS, Kind, confusion, constant, falling, falling_then_rising, made

RUNNING = replace(ENDED, has_ended=False)
EVERY = [(truth, kind) for truth, kinds in KINDS.items() if truth != "too_noisy" for kind in kinds]


def one(truth: str, index: int = 0) -> Kind:
    return KINDS[truth][index]


def kind_of(curve: Curve, training: Training) -> str | None:
    found = verdict(curve, training)
    return found.kind if found is not None else None


@pytest.mark.parametrize(("truth", "kind"), EVERY, ids=[f"{truth}, {kind.name}" for truth, kind in EVERY])
@pytest.mark.parametrize("noise", [0.0, 0.02])
@pytest.mark.parametrize("length", [60, 300, 2_000])
def test_a_curve_with_little_noise_gets_its_kind(truth: str, kind: Kind, noise: float, length: int) -> None:
    found = verdict(made(kind, length=length, noise=noise, seed=1), ENDED)
    assert found is not None
    assert found.kind == truth


def test_noise_makes_verdicts_careful_but_hardly_wrong() -> None:
    found = confusion(1, full=True)
    for truth in ("converging", "still_falling", "over_fitted", "diverged"):
        careful = {truth, "too_noisy", "none"} | ({"converging"} if truth == "still_falling" else set())
        for noise in (0.02, 0.1):
            counts = {given: n for (kind, at, given), n in found.items() if (kind, at) == (truth, noise)}
            wrong = sum(n for given, n in counts.items() if given not in careful)
            assert wrong <= 0.05 * sum(counts.values()), (truth, noise, counts)
    alarms = {
        key: n for key, n in found.items() if key[0] == "nothing_learnt" and key[2] in ("over_fitted", "diverged")
    }
    assert not alarms


def test_a_level_curve_is_too_noisy_once_its_noise_hides_a_change_by_five_percent() -> None:
    level = one("nothing_learnt", 1)
    kinds = [kind_of(made(level, length=60, noise=noise, seed=3), ENDED) for noise in (0.02, 0.6)]
    assert kinds == ["nothing_learnt", "too_noisy"]


def test_noise_asks_for_no_validation_file_where_there_are_validation_losses() -> None:
    noisy = made(one("nothing_learnt", 1), length=60, noise=0.6, seed=3)
    asked = []
    for loss in (None, 1.0):
        found = verdict(Curve([step._replace(valid_loss=loss) for step in noisy.steps], 60), ENDED)
        assert found is not None
        asked.append("validation_file" in [each.setting for each in found.advice])
    assert asked == [True, False]


def test_a_spike_that_recovers_is_no_divergence() -> None:
    curve = made(one("converging"), length=300, noise=0.05, seed=1)
    spike = [step._replace(train_loss=9.0) if 140 <= step.step < 150 else step for step in curve.steps]
    found = verdict(Curve(spike, 300), ENDED)
    assert found is not None
    assert found.kind == "converging"


def test_training_losses_that_are_no_numbers_are_a_divergence_once_three_follow_each_other() -> None:
    curve = made(one("still_falling"), length=40, noise=0.02, seed=1)
    for count, kind in ((2, "still_falling"), (3, "diverged")):
        bad = [step._replace(train_loss=math.nan) if step.step > 40 - count else step for step in curve.steps]
        found = verdict(Curve(bad, 40), ENDED)
        assert found is not None
        assert found.kind == kind
    assert found is not None
    assert found.step == 38
    assert found.message == "The training diverged: since step 38 its loss is no finite number."


def test_the_step_and_the_checkpoint_of_over_fitting_are_those_of_the_lowest_validation_loss() -> None:
    kind = Kind("rises", falling(2.3, 0.2, 0.25), falling_then_rising(2.3, 1.1, 0.5, 0.4))
    training = replace(ENDED, checkpoints={50: "ckpt-50", 100: "ckpt-100", 150: "ckpt-150", 200: "ckpt-200"})
    found = verdict(made(kind, length=200, noise=0.05, seed=1), training)
    assert found is not None
    assert (found.kind, found.step, found.recommended_checkpoint) == ("over_fitted", 100, "ckpt-100")
    assert found.message == (
        "The model over-fitted since about step 100: its validation loss rose from 1.12 to 1.56 while the training "
        "loss fell on. Use the checkpoint ckpt-100."
    )
    epochs, data = found.advice
    assert (epochs.setting, epochs.change) == ("n_epochs", "from 4 to 3 or 2")
    assert epochs.reason == "The validation loss was lowest in epoch 2; every later epoch made the model less general."
    assert (data.setting, data.change) == ("training_file", "from 400 to 800 examples")


def test_no_checkpoint_is_recommended_that_is_no_better_than_the_model() -> None:
    kind = Kind("rises", falling(2.3, 0.2, 0.25), falling_then_rising(2.3, 1.1, 0.5, 0.4))
    found = verdict(made(kind, length=200, noise=0.05, seed=1), replace(ENDED, checkpoints={200: "ckpt-200"}))
    assert found is not None
    assert (found.kind, found.recommended_checkpoint) == ("over_fitted", None)


def test_over_fitting_shows_in_the_losses_of_the_whole_file_alone() -> None:
    losses = {25: 1.0, 50: 0.9, 75: 0.92, 100: 0.95}
    steps = [StepLosses(step, 2.0 - step / 100, None, losses.get(step)) for step in range(1, 101)]
    found = verdict(Curve(steps, 100), ENDED)
    assert found is not None
    assert (found.kind, found.step) == ("over_fitted", 50)
    within_chance = verdict(Curve([step._replace(full_valid_loss=None) for step in steps], 100), ENDED)
    assert within_chance is not None
    assert within_chance.kind == "still_falling"


def test_the_advice_for_a_loss_that_still_falls_is_an_epoch_or_two_more() -> None:
    found = verdict(made(one("still_falling"), length=300, noise=0.02, seed=1), ENDED)
    assert found is not None
    assert [(each.setting, each.change) for each in found.advice] == [
        ("n_epochs", "from 4 to 5 or 6"),
        ("learning_rate_multiplier", "from 1 to 2"),
    ]
    running = verdict(made(one("still_falling"), length=300, noise=0.02, seed=1), RUNNING)
    assert running is not None
    assert (running.kind, running.advice) == ("still_falling", [])


@pytest.mark.parametrize(
    ("epochs", "expected"), [(50, None), (49, "from 49 to 50"), (1, "from 1 to 2 or 3"), (None, None)]
)
def test_advice_stays_within_the_bounds_of_the_api(epochs: int | None, expected: str | None) -> None:
    training = replace(ENDED, settings=Settings(n_epochs=epochs))
    found = verdict(made(one("still_falling"), length=300, noise=0.0, seed=1), training)
    assert found is not None
    changes = {each.setting: each.change for each in found.advice}
    assert changes.get("n_epochs") == expected
    assert changes["learning_rate_multiplier"] == "twice what the upstream chose for auto (2 if that was 1)"


def test_over_fitting_in_one_epoch_means_a_lower_rate_and_in_many_epochs_to_end_where_it_was_best() -> None:
    curve = made(one("over_fitted", 2), length=300, noise=0.02, seed=1, full=False)
    for settings, expected in (
        (Settings(n_epochs=1, learning_rate_multiplier=0.5), ("learning_rate_multiplier", "from 0.5 to 0.25")),
        (Settings(n_epochs=20), ("n_epochs", "from 20 to 1")),
    ):
        found = verdict(curve, replace(ENDED, settings=settings))
        assert found is not None
        assert (found.advice[0].setting, found.advice[0].change) == expected


def test_without_a_validation_file_the_advice_is_to_give_one() -> None:
    found = verdict(made(one("converging", 1), length=300, noise=0.02, seed=1), ENDED)
    assert found is not None
    assert [each.setting for each in found.advice] == ["validation_file"]
    assert "cannot be said without validation losses" in found.message


def test_a_validation_loss_that_does_not_follow_the_training_loss_means_that_nothing_carries_over() -> None:
    kind = Kind("does not carry over", falling(2.0, 0.5, 0.2), constant(2.1))
    found = verdict(made(kind, length=300, noise=0.02, seed=1), ENDED)
    assert found is not None
    assert found.kind == "nothing_learnt"
    assert [each.setting for each in found.advice] == ["training_file"]
    steps = made(kind, length=300, noise=0.02, seed=1, full=False).steps
    late = [step if step.step > 30 else step._replace(valid_loss=None) for step in steps]
    assert kind_of(Curve(late, 300), ENDED) == "converging", "it may have fallen before it was measured"


def test_the_losses_of_the_whole_file_are_compared_with_where_its_batches_began() -> None:
    """As the trainer reported it of 64 examples and 8 epochs: the first epoch had all of the fall."""
    full = dict(zip(range(64, 513, 64), (2.775, 2.772, 2.772, 2.773, 2.774, 2.775, 2.775, 2.775), strict=True))
    curve = made(Kind("", falling(4.3, 0.1, 0.1), falling(4.17, 2.8, 0.02)), length=512, noise=0.05, seed=1, full=False)
    steps = [step._replace(full_valid_loss=full.get(step.step)) for step in curve.steps]
    found = verdict(Curve(steps, 512), ENDED)
    assert found is not None
    assert found.message == "The validation loss fell from 4.11 to 2.77 and shows no further fall."
    without_batches = verdict(Curve([step._replace(valid_loss=None) for step in steps], 512), ENDED)
    assert without_batches is not None
    assert without_batches.message == (
        "The training loss fell from 4.39 to 0.101; the validation loss shows no fall since it was first measured, and "
        "is 2.77."
    )


def test_dpo_begins_at_the_logarithm_of_two() -> None:
    """Its first losses have fallen already where steps are logged rarely; the known start shows that it learnt."""
    curve = Curve([StepLosses(step, 0.5) for step in range(20, 201, 20)], 200)
    kinds = [kind_of(curve, replace(ENDED, method=method)) for method in ("supervised", "dpo")]
    assert kinds == ["nothing_learnt", "converging"]
    risen = Curve([StepLosses(step, 0.9) for step in range(20, 201, 20)], 200)
    assert kind_of(risen, replace(ENDED, method="dpo")) == "nothing_learnt"


def test_there_is_no_verdict_while_there_is_too_little_to_say() -> None:
    level, falls = made(one("nothing_learnt"), length=100, noise=0.02, seed=1), one("converging")
    assert verdict(Curve([]), ENDED) is None
    assert verdict(Curve(made(falls, length=40, noise=0.0, seed=1).steps[:7], 40), ENDED) is None
    assert verdict(Curve(level.steps[:40], 100), RUNNING) is None
    assert kind_of(Curve(level.steps[:60], 100), RUNNING) == "nothing_learnt"
    assert verdict(Curve(level.steps[:60]), RUNNING) is None
    assert verdict(made(falls, length=40, noise=0.0, seed=1), replace(ENDED, method="reinforcement")) is None


def test_a_running_job_that_diverges_or_over_fits_is_said_to_so_that_it_can_be_cancelled() -> None:
    for truth in ("diverged", "over_fitted"):
        curve = made(one(truth), length=300, noise=0.02, seed=1, full=False)
        found = verdict(Curve(curve.steps[:250], 300), RUNNING)
        assert found is not None
        assert found.kind == truth
        assert found.message.endswith("Cancel it, unless you want to see it through.")


def test_over_all_verdicts_of_a_running_job_noise_hardly_raises_an_alarm() -> None:
    """It gets a verdict at each tenth more steps. Over sixty seeds each: level curves 0 % to 7 %, all others none."""
    jobs = alarms = 0
    for kind in (one("converging"), one("still_falling"), one("nothing_learnt")):
        for noise in (0.02, 0.1, 0.3):
            for seed in range(5):
                steps = made(kind, length=200, noise=noise, seed=seed, full=False).steps
                until = [round(8 * 1.1**power) for power in range(35)]
                kinds = [kind_of(Curve(steps[:count], 200), RUNNING) for count in until if count <= 200]
                jobs += 1
                alarms += "over_fitted" in kinds or "diverged" in kinds
    assert jobs == 45
    assert alarms <= 2


def test_a_long_curve_is_thinned_and_its_last_value_stays() -> None:
    steps = [StepLosses(step, 1.0 / step, 2.0 if step % 1_000 == 0 else None) for step in range(1, 100_001)]
    train, valid = series(Curve(steps), "train_loss"), series(Curve(steps), "valid_loss")
    assert (len(train), train.steps[-1]) == (MAX_POINTS, 100_000)
    assert (len(valid), valid.steps[0], valid.steps[-1]) == (100, 1_000, 100_000)


def test_nothing_but_an_ended_job_gets_advice_for_what_may_still_change() -> None:
    for kinds in KINDS.values():
        found = verdict(made(kinds[0], length=300, noise=0.02, seed=1), Training(has_ended=False))
        assert found is None or found.kind != "still_falling" or found.advice == []
