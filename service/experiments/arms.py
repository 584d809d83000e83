"""The arms of an experiment: from a list or a grid to the settings of each, and from those to a job's create. Pure."""

import itertools
import math
from collections.abc import Sequence
from typing import Any

import msgspec

from service.errors import InvalidRequest
from service.experiments.request_schemas import MAX_ARMS, MAX_MODELS, ArmRequest, CreateExperiment, Grid
from service.jobs.rules import check_create, hyperparameters_of
from service.jobs.schemas import CreateJob, Method

HYPERPARAMETERS = ("n_epochs", "batch_size", "learning_rate_multiplier", "beta")


class ArmSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What one arm trains and how; hyperparameters are `auto` or a value, and `beta` is null outside of DPO."""

    model: str
    seed: int
    data_share: float
    n_epochs: int | str
    batch_size: int | str
    learning_rate_multiplier: float | str
    beta: float | str | None


def expand(body: CreateExperiment, *, seed: int) -> list[ArmSettings]:
    """The settings of every arm, in order; `seed` is the experiment's own.

    Raises `InvalidRequest` for none or both of `arms` and `grid`, too many arms or models, equal arms, and a
    hyperparameter that the method does not have.
    """
    method = check_create(_common(body))
    requested = _requested(body)
    common = hyperparameters_of(method)
    if method["type"] != "dpo" and any(each.beta is not None for each in requested):
        raise InvalidRequest(
            f"'beta' belongs to the method 'dpo', and this experiment's is '{method['type']}'.",
            param="beta",
            code="conflicting_parameters",
        )
    arms = [_settings(body, each, common, seed) for each in requested]
    check_different(arms)
    if len({arm.model for arm in arms}) > MAX_MODELS:
        raise InvalidRequest(
            f"The arms train more than {MAX_MODELS} different models, which is the limit.",
            param="arms",
            code="too_many_arms",
        )
    return arms


def varied(arms: Sequence[ArmSettings]) -> list[str]:
    """The names of the settings in which the arms differ."""
    return [name for name in ArmSettings.__struct_fields__ if len({getattr(arm, name) for arm in arms}) > 1]


def job_of(body: CreateExperiment, arm: ArmSettings, *, training_file: str) -> CreateJob:
    """The create of an arm's job."""
    common = _common(body)
    method = check_create(common)
    kind = method["type"]
    chosen = {name: getattr(arm, name) for name in HYPERPARAMETERS if getattr(arm, name) is not None}
    parameters = {**hyperparameters_of(method), **chosen}
    return msgspec.structs.replace(
        common,
        model=arm.model,
        training_file=training_file,
        seed=arm.seed,
        method=msgspec.convert({"type": kind, kind: {**method[kind], "hyperparameters": parameters}}, Method),
    )


def _common(body: CreateExperiment) -> CreateJob:
    return CreateJob(
        model=body.model,
        training_file=body.training_file,
        validation_file=body.validation_file,
        suffix=body.suffix,
        metadata=body.metadata,
        method=body.method,
        adapter=body.adapter,
        budget=body.budget_per_arm,
        upstream_account=body.upstream_account,
        priority=body.priority,
    )


def _requested(body: CreateExperiment) -> Sequence[ArmRequest]:
    if (body.arms is None) == (body.grid is None):
        raise InvalidRequest(
            "Give the arms once: `arms`, a list, or `grid`, whose combinations are the arms.",
            param="arms",
            code="missing_required_parameter" if body.arms is None else "conflicting_parameters",
        )
    return body.arms if body.arms is not None else _combinations(body.grid or Grid())


def _combinations(grid: Grid) -> list[ArmRequest]:
    values: dict[str, list[Any]] = {
        name: found for name in grid.__struct_fields__ if (found := getattr(grid, name)) is not None
    }
    count = math.prod(len(each) for each in values.values())
    if not values or count > MAX_ARMS:
        raise InvalidRequest(
            f"The grid has {count:,} combinations; an experiment has up to {MAX_ARMS} arms. Give fewer values, or "
            "list the combinations that matter as `arms`."
            if values
            else "The grid is empty. Give at least one list of values.",
            param="grid",
            code="too_many_arms" if values else "missing_required_parameter",
        )
    return [ArmRequest(**dict(zip(values, each, strict=True))) for each in itertools.product(*values.values())]


def _settings(body: CreateExperiment, arm: ArmRequest, common: dict[str, Any], seed: int) -> ArmSettings:
    chosen: dict[str, Any] = {
        name: common.get(name) if getattr(arm, name) is None else getattr(arm, name) for name in HYPERPARAMETERS
    }
    return ArmSettings(
        model=arm.model or body.model,
        seed=seed if arm.seed is None else arm.seed,
        data_share=1.0 if arm.data_share is None else arm.data_share,
        **chosen,
    )


def check_different(arms: Sequence[ArmSettings]) -> None:
    """Raises `InvalidRequest` for two arms that would train the same."""
    first: dict[ArmSettings, int] = {}
    for number, arm in enumerate(arms, start=1):
        if arm in first:
            raise InvalidRequest(
                f"Arm {number} is the same as arm {first[arm]}. Leave it out, or give it another seed.",
                param="arms",
                code="conflicting_parameters",
            )
        first[arm] = number
