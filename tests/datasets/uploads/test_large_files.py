"""Large files by both ways: bounded memory, others served meanwhile, and progress to look at. Figures: benchmarks/."""

from pathlib import Path

import pytest

from benchmarks.large_files import MEGABYTE, WAYS, Way, measure, table, training_data
from tests.stack import DevStack

SIZE_BYTES = 64 * MEGABYTE
MAX_MB = 300
MAX_MB_MORE = 100


def test_training_data_has_the_size_asked_for() -> None:
    for size_bytes in (1, 5_000, 3 * MEGABYTE + 1):
        assert sum(map(len, training_data(size_bytes))) == size_bytes


@pytest.mark.timeout(300)
@pytest.mark.parametrize("way", WAYS)
def test_come_in_and_are_checked_in_bounded_memory(stack: DevStack, way: Way) -> None:
    api = Path(f"/proc/{stack.pid('api')}")
    before_mb = int(api.joinpath("statm").read_text().split()[1]) * 4096 / 1e6
    api.joinpath("clear_refs").write_text("5")  # forgets the peak of earlier tests
    measured = measure(stack, way, SIZE_BYTES)
    print(table([measured]))
    assert measured.status == "processed"
    assert measured.api_peak_mb - before_mb < MAX_MB_MORE
    assert measured.validator_peak_mb < MAX_MB
    assert measured.livez_ms(0.5) > 0  # others were answered meanwhile; how fast, the benchmark says
    assert measured.progress == sorted(measured.progress)
    assert any(0 < share < 1 for share in measured.progress)
    assert all(0 <= share <= 1 for share in measured.progress)
