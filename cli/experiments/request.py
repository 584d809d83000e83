"""The body of an experiment's create, from the options of the command. Pure but for a grader's schema file."""

import json
from typing import Any

from cli.arguments.experiment import Common, End, Varied
from cli.errors import Refused
from cli.graders import grader_of
from cli.jobs.request import metadata_of

SETTINGS = ("model", "seed", "data_share", "n_epochs", "batch_size", "learning_rate_multiplier", "beta")
"""What an arm may set, by the API's names."""


def experiment_body(varied: Varied, common: Common, end: End) -> dict[str, Any]:
    """The body, without its files. Raises `Refused` for options that cannot be read."""
    if not varied.models:
        raise Refused("Name the model to train: --model NAME. `tunegate models list` shows them.")
    grid = {
        "model": list(varied.models) if len(varied.models) > 1 else None,
        "n_epochs": _numbers("--epochs", varied.epochs),
        "batch_size": _numbers("--batch-size", varied.batch_size),
        "learning_rate_multiplier": _numbers("--learning-rate-multiplier", varied.learning_rate_multiplier),
        "beta": _numbers("--beta", varied.beta),
        "data_share": _numbers("--data-share", varied.data_share),
        "seed": _numbers("--seed", varied.seed),
    }
    grid = {name: values for name, values in grid.items() if values is not None}
    if varied.arms and grid:
        raise Refused("Give single arms with --arm, or values to combine, not both.")
    if not varied.arms and not grid:
        raise Refused("Say what the arms vary, such as --epochs 2,3,4 or --data-share 0.5,1.")
    body: dict[str, Any] = {
        "model": varied.models[0],
        "arms": [arm_of(text) for text in varied.arms] or None,
        "grid": grid or None,
        "method": None if common.method is None else {"type": common.method, common.method: {}},
        "suffix": common.suffix,
        "metadata": metadata_of(common.metadata) or None,
        "budget": common.budget,
        "budget_per_arm": common.budget_per_arm,
        "max_parallel": common.max_parallel,
        "priority": common.priority,
        "upstream_account": common.upstream,
        "early_stopping": None if end.early_stopping is None else _early_stopping(end.early_stopping),
        "promote": end.promote,
    }
    return {name: value for name, value in body.items() if value is not None}


def comparison_of(end: End, file: str) -> dict[str, Any]:
    """The comparison on a file, which is the id of one at the gateway. Raises `Refused`."""
    graders = [grader_of(text) for text in end.graders or ("exact",)]
    return {"file": file, "graders": graders, "must_beat": end.must_beat or "base"}


def arm_of(text: str) -> dict[str, Any]:
    """An arm as `n_epochs=2,data_share=0.5`. Raises `Refused`."""
    arm = _settings("--arm", text.split(","))
    if unknown := [name for name in arm if name not in SETTINGS]:
        raise Refused(f"--arm has no setting {unknown[0]!r}; it has {', '.join(SETTINGS)}.")
    return arm


def _early_stopping(text: str) -> dict[str, Any]:
    rule, *settings = text.split(",")
    return {"rule": rule, **_settings("--early-stopping", settings)}


def _settings(option: str, texts: list[str]) -> dict[str, Any]:
    settings = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise Refused(f"{option}: {text!r} is not NAME=VALUE.")
        settings[name.strip()] = value if name.strip() == "model" else _number(option, value)
    return settings


def _numbers(option: str, text: str | None) -> list[int | float] | None:
    return None if text is None else [_number(option, each) for each in text.split(",")]


def _number(option: str, text: str) -> int | float:
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Refused(f"{option}: {text.strip()!r} is not a number.")
    return value
