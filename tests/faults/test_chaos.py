"""The chaos run (`make chaos`): its schedule, and a short form of it."""

import pytest

from tests.faults.chaos import Plan, run
from tests.faults.fault_schedule import KINDS, schedule


class TestSchedule:
    def test_a_seed_repeats_it(self) -> None:
        def made(seed: int) -> object:
            return schedule(seed, faults=600, lease_seconds=8.0)

        assert made(3) == made(3)
        assert made(3) != made(4)

    def test_every_kind_is_in_a_full_run(self) -> None:
        faults = schedule(1, faults=520, lease_seconds=8.0)
        assert {fault.kind for fault in faults} == set(KINDS)
        assert len(faults) == 520
        assert all(0 < fault.at_share < 1 for fault in faults)


@pytest.mark.faults
@pytest.mark.timeout(1200)
async def test_a_short_run_loses_and_doubles_nothing() -> None:
    report = await run(Plan(seed=20261121, jobs=40, faults=16, projects=2, apis=1, workers=2))
    assert report.forbidden() == {}, str(report)
    assert report.verdict.submitted + report.unanswered >= 40
    assert report.faults.total() == 16
