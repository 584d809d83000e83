"""The arms of an experiment: grids and lists, and the job of each."""

from typing import Any

import msgspec
import pytest

from service.errors import InvalidRequest
from service.experiments.arms import expand, job_of, varied
from service.experiments.request_schemas import CreateExperiment


def request(**body: Any) -> CreateExperiment:
    """A body as a caller sends it."""
    return msgspec.convert({"model": "m", "training_file": "file-1", **body}, CreateExperiment)


def test_a_grid_has_every_combination_and_varies_its_first_field_slowest() -> None:
    arms = expand(request(grid={"learning_rate_multiplier": [1.0, 2.0], "n_epochs": [2, 3]}), seed=7)
    assert [(arm.n_epochs, arm.learning_rate_multiplier) for arm in arms] == [(2, 1.0), (2, 2.0), (3, 1.0), (3, 2.0)]
    assert {(arm.model, arm.seed, arm.data_share, arm.batch_size, arm.beta) for arm in arms} == {
        ("m", 7, 1.0, "auto", None)
    }
    assert varied(arms) == ["n_epochs", "learning_rate_multiplier"]


def test_an_arm_has_what_it_names_and_else_the_experiment_s_own() -> None:
    method = {"type": "dpo", "dpo": {"hyperparameters": {"beta": 0.1, "n_epochs": 4}}}
    body = request(method=method, arms=[{"beta": 0.5}, {"model": "other", "seed": 3, "data_share": 0.25}], suffix="s")
    first, second = expand(body, seed=7)
    assert (first.beta, first.n_epochs, first.seed) == (0.5, 4, 7)
    assert (second.beta, second.model, second.seed, second.data_share) == (0.1, "other", 3, 0.25)
    job = job_of(body, second, training_file="file-2")
    assert (job.model, job.training_file, job.seed, job.suffix, job.priority) == ("other", "file-2", 3, "s", -10)
    assert job.method is not None
    assert job.method.dpo is not None
    assert (job.method.dpo.hyperparameters.beta, job.method.dpo.hyperparameters.n_epochs) == (0.1, 4)


@pytest.mark.parametrize(
    ("body", "param", "code", "words"),
    [
        ({}, "arms", "missing_required_parameter", "Give the arms once"),
        ({"arms": [{}], "grid": {"seed": [1]}}, "arms", "conflicting_parameters", "Give the arms once"),
        ({"grid": {}}, "grid", "missing_required_parameter", "empty"),
        ({"grid": {"n_epochs": [1, 2, 3, 4, 5, 6], "seed": [1, 2, 3, 4, 5, 6]}}, "grid", "too_many_arms", "36"),
        ({"arms": [{"n_epochs": 2}, {"seed": 7, "n_epochs": 2}]}, "arms", "conflicting_parameters", "same as arm 1"),
        ({"arms": [{"beta": 0.1}]}, "beta", "conflicting_parameters", "'dpo'"),
        ({"arms": [{"model": f"m{each}"} for each in range(9)]}, "arms", "too_many_arms", "8 different models"),
    ],
)
def test_a_refusal_names_the_field(body: dict[str, Any], param: str, code: str, words: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        expand(request(**body), seed=7)
    assert (refused.value.param, refused.value.code) == (param, code)
    assert words in refused.value.message
