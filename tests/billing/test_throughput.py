"""GPU-seconds estimated from finished jobs: none, one, many, outliers, drift, and whether the intervals are honest."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.billing.throughput import (
    DOCUMENTED_FACTOR,
    WINDOW,
    GpuSeconds,
    Measured,
    envelope,
    estimate_gpu_seconds,
    past_error,
)

TOKENS = 1_000_000


def at(speed: float, tokens: int = TOKENS) -> Measured:
    """A job that trained at a speed in tokens by GPU-second."""
    return Measured(tokens, tokens / speed)


def estimated(finished: list[Measured], documented: float | None = None) -> GpuSeconds:
    """The estimate for a job of `TOKENS`."""
    estimate = estimate_gpu_seconds(TOKENS, finished, documented=documented)
    assert estimate is not None
    return estimate


def factor(estimate: GpuSeconds) -> float:
    """How many times the expected GPU-seconds the upper bound is."""
    return estimate.high / estimate.expected


class TestBeforeAnyJob:
    def test_nothing_is_known(self) -> None:
        assert estimate_gpu_seconds(TOKENS, [], documented=None) is None

    def test_the_documented_speed_counts_with_its_uncertainty(self) -> None:
        estimate = estimated([], documented=2000)
        assert estimate == GpuSeconds(low=250, expected=500, high=1000, jobs=0, source="documented")
        assert factor(estimate) == DOCUMENTED_FACTOR


class TestFinishedJobs:
    def test_one_counts_more_than_what_is_documented_and_is_not_trusted_yet(self) -> None:
        estimate = estimated([at(1000)], documented=8000)
        assert estimate.expected == pytest.approx(1000)
        assert (estimate.jobs, estimate.source) == (1, "jobs")
        assert 2 < factor(estimate) < 3

    def test_more_of_them_narrow_the_interval(self) -> None:
        factors = [factor(estimated([at(1000)] * jobs)) for jobs in range(1, WINDOW + 1)]
        assert factors == sorted(factors, reverse=True)
        assert factors[-1] < 1.2

    def test_jobs_that_differ_widen_it(self) -> None:
        alike = [at(1000 * 1.02 ** (number % 5)) for number in range(WINDOW)]
        apart = [at(1000 * 1.6 ** (number % 5)) for number in range(WINDOW)]
        assert factor(estimated(apart)) > 2 * factor(estimated(alike))

    def test_the_size_of_a_job_does_not_matter_but_its_speed(self) -> None:
        finished = [at(1000, tokens) for tokens in (10, 1_000, 100_000_000)]
        assert estimated(finished).expected == pytest.approx(1000)

    @pytest.mark.parametrize("wrong", [1e-6, 1e9])
    def test_outliers_move_neither_the_expectation_nor_the_interval_much(self, wrong: float) -> None:
        honest = [at(1000 + 10 * number) for number in range(15)]
        clean, soiled = estimated(honest), estimated([at(wrong), *honest, at(wrong), at(wrong)])
        assert soiled.expected == pytest.approx(clean.expected, rel=0.05)
        assert factor(soiled) == pytest.approx(factor(clean), rel=0.05)

    def test_it_follows_other_hardware(self) -> None:
        old, new = [at(1000)] * 50, [at(4000)]
        half = estimated([*(new * (WINDOW // 2 + 1)), *old])
        assert half.expected == pytest.approx(250)
        assert half.high > 1000, "jobs of both kinds are among the newest, so either may come"
        settled = estimated([*(new * WINDOW), *old])
        assert settled.expected == pytest.approx(250)
        assert settled.jobs == WINDOW
        assert factor(settled) < 1.2

    @given(
        st.lists(st.tuples(st.integers(1, 10**12), st.floats(1e-3, 1e9)), min_size=1, max_size=40),
        st.integers(0, 10**12),
    )
    def test_bounds_are_in_order_and_finite(self, jobs: list[tuple[int, float]], tokens: int) -> None:
        estimate = estimate_gpu_seconds(tokens, [Measured(*job) for job in jobs], documented=None)
        assert estimate is not None
        assert 0 <= estimate.low <= estimate.expected <= estimate.high < math.inf


@pytest.mark.parametrize(("jobs", "spread"), [(1, 0.1), (2, 0.1), (5, 0.1), (20, 0.1), (5, 0.3), (20, 0.3)])
def test_nine_of_ten_jobs_end_within_the_interval(jobs: int, spread: float) -> None:
    """Made jobs whose speeds are log-normal, with a spread below and above the one that is assumed."""
    rng = random.Random(7)
    trials, above, within = 2_000, 0, 0
    for _ in range(trials):
        *finished, actual = [at(1000 * math.exp(rng.gauss(0, spread))) for _ in range(jobs + 1)]
        estimate = estimated(finished)
        above += actual.gpu_seconds > estimate.high
        within += estimate.low <= actual.gpu_seconds <= estimate.high
    assert within / trials > 0.88
    assert above / trials < 0.06


class TestSeveralAccounts:
    def test_expect_the_first_and_reserve_for_all(self) -> None:
        fast, slow = estimated([at(4000)] * 5), estimated([at(1000)] * 3)
        both = envelope([fast, None, slow])
        assert both == GpuSeconds(low=fast.low, expected=fast.expected, high=slow.high, jobs=5, source="jobs")

    def test_without_an_estimate_have_none(self) -> None:
        assert envelope([]) is None
        assert envelope([None, None]) is None


class TestPastErrors:
    def test_are_those_of_jobs_that_began_with_an_estimate(self) -> None:
        promised = GpuSeconds(low=80, expected=100, high=125, jobs=4, source="jobs")
        finished = [Measured(1, actual, promised) for actual in (90, 110, 130)]
        error = past_error([*finished, at(1000)])
        assert error is not None
        assert (error.jobs, error.actual_to_expected, error.within) == (3, 1.1, 2)

    def test_are_unknown_before_the_first(self) -> None:
        assert past_error([at(1000)]) is None
