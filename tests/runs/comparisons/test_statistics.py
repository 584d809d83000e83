"""The figures: against published values, the same for the same seed, and honest where little is known."""

import random
import subprocess
import sys

import pytest

from service.runs.comparisons.statistics import NOTHING, mean, rate, wins


class TestRate:
    def test_wilson_interval(self) -> None:
        """Newcombe, "Two-sided confidence intervals for the single proportion", 1998, table I, method 3."""
        for successes, trials, low, high in (
            (81, 263, 0.2553, 0.3662),
            (15, 148, 0.0624, 0.1605),
            (0, 20, 0.0, 0.1611),
        ):
            found = rate(successes, trials)
            assert found.low == pytest.approx(low, abs=5e-5)
            assert found.high == pytest.approx(high, abs=5e-5)

    def test_of_nothing(self) -> None:
        assert rate(0, 0) == NOTHING


class TestMean:
    def test_the_same_seed_gives_the_same_interval(self) -> None:
        scores = [random.Random(3).random() for _ in range(1)] + [0.1, 0.4, 0.9, 0.2]
        assert mean(scores, seed=7) == mean(scores, seed=7)
        assert mean(scores, seed=7) != mean(scores, seed=8)

    def test_the_interval_holds_the_mean_and_covers(self) -> None:
        """Of 200 samples of 40 throws, about 95 % of the intervals hold the true mean."""
        held = 0
        for seed in range(200):
            throws = random.Random(seed)
            found = mean([float(throws.random() < 0.3) for _ in range(40)], seed=seed)
            assert found.low is not None
            assert found.high is not None
            assert found.low <= (found.value or 0) <= found.high
            held += found.low <= 0.3 <= found.high
        assert 170 <= held <= 199

    def test_one_value_has_no_interval_and_equal_values_a_narrow_one(self) -> None:
        assert (mean([0.5], seed=0).value, mean([0.5], seed=0).low) == (0.5, None)
        assert (mean([1.0] * 9, seed=0).low, mean([1.0] * 9, seed=0).high) == (1.0, 1.0)
        assert mean([], seed=0) == NOTHING


class TestWins:
    def test_ties_are_counted_and_left_out_of_the_rate(self) -> None:
        found = wins([1.0, 0.5, 0.0, 1.0], [0.0, 0.5, 1.0, 0.2])
        assert (found.wins, found.ties, found.losses) == (2, 1, 1)
        assert found.rate == rate(2, 3)

    def test_nothing_but_ties(self) -> None:
        assert wins([1.0], [1.0]).rate == NOTHING


def test_scipy_is_not_imported_before_it_is_needed() -> None:
    """The API's process reads these modules, and has to stay small."""
    code = (
        "import sys, service.app, service.runs.comparisons.statistics, "
        "service.runs.comparisons.graders.registry; "
        "print([name for name in ('scipy', 'numpy', 'rapidfuzz') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
