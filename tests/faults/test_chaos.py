"""The schedule of the chaos run (`make chaos`)."""

from tests.faults.strokes import KINDS, schedule


class TestSchedule:
    def test_a_seed_repeats_it(self) -> None:
        def made(seed: int) -> object:
            return schedule(seed, faults=600, lease_seconds=8.0)

        assert made(3) == made(3)
        assert made(3) != made(4)

    def test_every_kind_is_in_a_full_run(self) -> None:
        strokes = schedule(1, faults=520, lease_seconds=8.0)
        assert {stroke.kind for stroke in strokes} == set(KINDS)
        assert len(strokes) == 520
        assert all(0 < stroke.at_share < 1 for stroke in strokes)
