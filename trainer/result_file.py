"""The result file of a job, as OpenAI's `step_metrics.csv`."""

from collections.abc import Sequence

_HEADER = "step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy"
_NAMES = ("train_loss", "train_mean_token_accuracy", "valid_loss", "valid_mean_token_accuracy")


def result_csv(steps: Sequence[dict[str, float | None]]) -> str:
    """The file before base64: one line a step, five decimals, empty where nothing was measured."""
    return "\n".join([_HEADER, *map(_line, steps)]) + "\n"


def _line(data: dict[str, float | None]) -> str:
    values = [data.get(name) for name in _NAMES]
    return ",".join([str(int(data["step"] or 0)), *("" if value is None else f"{value:.5f}" for value in values)])
