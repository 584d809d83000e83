"""The GPUs that the launcher `local` shares among jobs."""

import pytest

from trainer.launchers.local import gpu_names


@pytest.mark.parametrize(
    ("gpus", "visible", "names"),
    [(0, "", []), (2, "", ["0", "1"]), (2, "2,3", ["2", "3"]), (1, "GPU-5d5b, GPU-77aa", ["GPU-5d5b"]), (0, "3", [])],
)
def test_gpus_are_those_that_the_server_sees(gpus: int, visible: str, names: list[str]) -> None:
    assert gpu_names(gpus, visible=visible) == names


def test_more_gpus_than_the_server_sees_are_refused() -> None:
    with pytest.raises(ValueError, match="TRAINER_GPUS is 2, but CUDA_VISIBLE_DEVICES names 1: 3"):
        gpu_names(2, visible="3")
