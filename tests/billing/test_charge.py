"""What a job that has ended is charged, by what its upstream says: pure, with rows and answers that are made here."""

import datetime as dt
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.fine_tuning import FineTuningJob

from service.billing.prices import gpu_cost_micros
from service.database.tables import Job
from service.jobs.gpu_metering import CLOCK_SKEW_SECONDS, MAX_GPUS, believed, is_spent, metered
from service.jobs.summary import JobWarning
from service.jobs.warnings import OVER_RESERVATION, USAGE_UNKNOWN
from service.states import EndState
from service.upstreams.adapters.parsing import MAX_GPU_SECONDS, parse_job
from workers.jobs.charge import Charge, charge, overrun, reason_of_cancel

PRICE_MICROS = 1000
EXPECTED_MICROS = 30_000
UNKNOWN = "The upstream reported no GPU-seconds, or more than are possible"


def job_at(*, price: int | None = PRICE_MICROS, before: float | None = None, budget: int | None = None) -> Job:
    """A job that was admitted a minute ago, of which polls have seen so many GPU-seconds."""
    return Job(
        price_micros_per_million=0 if price is not None else 3_000_000,
        price_micros_per_gpu_second=price,
        expected_micros=EXPECTED_MICROS,
        budget_micros=budget,
        gpu_seconds=before,
        admitted_at=dt.datetime.now(dt.UTC) - dt.timedelta(minutes=1),
    )


def unknown(message: str) -> JobWarning:
    """The warning that an upstream did not report a usage."""
    return JobWarning(code=USAGE_UNKNOWN, message=message)


def charged(
    usage: Any, job: Job | None = None, *, status: EndState = "succeeded", tokens: Any = 3000, billed: bool = True
) -> Charge:
    """The charge for what an answer of the upstream says."""
    answer = FineTuningJob.construct(id="ftjob-1", status=status, trained_tokens=tokens, usage=usage)
    return charge(job or job_at(), status, parse_job(answer), billed=billed)


class TestGpuSeconds:
    @pytest.mark.parametrize("status", ["succeeded", "failed", "cancelled"])
    def test_are_charged_however_the_job_ended(self, status: EndState) -> None:
        found = charged({"gpu_seconds": 33.25}, status=status)
        assert (found.gpu_seconds, found.micros, found.unknown) == (33.25, 33_250, None)

    def test_of_an_account_that_is_not_billed_are_metered(self) -> None:
        found = charged({"gpu_seconds": 33}, billed=False)
        assert (found.gpu_seconds, found.micros) == (33, 0)

    @pytest.mark.parametrize(
        "usage",
        [
            None, [7], "7", {}, {"gpu_seconds": None}, {"gpu_seconds": -1}, {"gpu_seconds": True}, {"gpu_seconds": "7"},
            {"gpu_seconds": math.nan}, {"gpu_seconds": math.inf}, {"gpu_seconds": MAX_GPU_SECONDS * 10},
            {"gpu_seconds": MAX_GPUS * (CLOCK_SKEW_SECONDS + 120)},
        ],
        ids=str,
    )  # fmt: skip
    def test_that_are_missing_or_absurd_are_charged_as_they_were_expected(self, usage: Any) -> None:
        found = charged(usage, job_at(before=5))
        assert (found.gpu_seconds, found.reported_gpu_seconds, found.micros) == (5, None, EXPECTED_MICROS)
        assert found.unknown == unknown(f"{UNKNOWN}; the expected price was charged")

    @pytest.mark.parametrize("status", ["failed", "cancelled"])
    def test_that_a_job_without_a_model_does_not_say_are_those_of_the_last_poll(self, status: EndState) -> None:
        found = charged(None, job_at(before=5), status=status)
        assert (found.micros, found.unknown) == (5_000, unknown(f"{UNKNOWN}; those of the last poll were charged"))
        assert charged(None, status=status).micros == 0

    def test_that_polls_saw_and_the_end_denies_stay(self) -> None:
        found = charged({"gpu_seconds": 4}, job_at(before=20))
        assert (found.gpu_seconds, found.micros) == (20, 20_000)

    def test_are_metered_and_not_charged_at_a_price_by_the_token(self) -> None:
        found = charged({"gpu_seconds": 33}, job_at(price=None))
        assert (found.gpu_seconds, found.micros) == (33, 9_000)
        found = charged(None, job_at(price=None), tokens=None)
        assert (found.micros, found.unknown) == (
            EXPECTED_MICROS,
            unknown("The upstream reported no trained tokens; the expected price was charged"),
        )

    def test_at_a_price_of_nothing_are_metered(self) -> None:
        found = charged({"gpu_seconds": 33}, job_at(price=0))
        assert (found.gpu_seconds, found.micros) == (33, 0)


class TestTheWarningOfAnOverrun:
    def test_names_both_amounts(self) -> None:
        found = charged({"gpu_seconds": 100})
        warning = overrun(job_at(), found, 60_000)
        message = "The job cost $0.10, more than the $0.06 that were reserved for it"
        assert warning == JobWarning(code=OVER_RESERVATION, message=message)

    def test_is_not_given_for_less_and_not_for_tokens(self) -> None:
        found = charged({"gpu_seconds": 60})
        assert overrun(job_at(), found, 60_000) is None
        assert overrun(job_at(), found, None) is None
        assert overrun(job_at(price=None), found, 1) is None


def test_a_cancelled_job_says_that_its_budget_was_the_reason() -> None:
    job = job_at(budget=20_000)
    assert reason_of_cancel(job, charged({"gpu_seconds": 20}, status="cancelled")) == "It has cost its budget of $0.02."
    assert reason_of_cancel(job, charged({"gpu_seconds": 19.9}, status="cancelled")) is None
    assert reason_of_cancel(job_at(), charged({"gpu_seconds": 99}, status="cancelled")) is None


class TestMetering:
    def test_believes_what_so_many_gpus_can_have_used(self) -> None:
        most = MAX_GPUS * (60 + CLOCK_SKEW_SECONDS)
        assert believed(most, elapsed_seconds=60) == most
        assert believed(most + 1, elapsed_seconds=60) is None
        assert believed(None, elapsed_seconds=60) is None

    @given(st.lists(st.none() | st.floats(0, 1e9)))
    def test_a_figure_never_falls(self, reports: list[float | None]) -> None:
        so_far: float | None = None
        for report in reports:
            after = metered(report, before=so_far)
            assert so_far is None or (after is not None and after >= so_far)
            so_far = after
        known = [report for report in reports if report is not None]
        assert so_far == (max(known) if known else None)

    def test_a_budget_is_spent_when_the_cost_reaches_it(self) -> None:
        assert is_spent(20_000, gpu_seconds=20, price_micros_per_gpu_second=1000)
        assert not is_spent(20_000, gpu_seconds=19.999, price_micros_per_gpu_second=1000)
        assert not is_spent(20_000, gpu_seconds=1e9, price_micros_per_gpu_second=0)
        assert not is_spent(None, gpu_seconds=1e9, price_micros_per_gpu_second=1000)
        assert not is_spent(20_000, gpu_seconds=None, price_micros_per_gpu_second=1000)

    @given(st.floats(0, 1e9), st.integers(0, 10**9))
    def test_a_cost_is_the_nearest_micro_dollar_of_whole_milliseconds(self, seconds: float, price: int) -> None:
        cost = gpu_cost_micros(seconds, price)
        assert abs(cost * 1000 - round(seconds * 1000) * price) <= 500
        assert gpu_cost_micros(0.0005 + 0.001, 1) == 0


@pytest.mark.parametrize(
    ("place", "shown"), [(3, 3), (1, 1), (0, None), (-1, None), ("2", None), (None, None), (1e30, None)]
)
def test_a_place_in_the_upstream_s_queue_is_a_count(place: Any, shown: int | None) -> None:
    assert parse_job(FineTuningJob.construct(id="ftjob-1", status="queued", queue_place=place)).queue_place == shown
