"""Models of a project at the terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console

from cli.errors import Refused
from cli.output import Column, dollars, moment, print_table

COLUMNS = (
    Column("model", whole=True),
    Column("kind"),
    Column("of", fold=True),
    Column("methods", spare=True),
    Column("training", "right", spare=True),
    Column("created", spare=True),
    Column("ends"),
)
MICROS = 1_000_000


def show_models(models: Sequence[Mapping[str, Any]], console: Console) -> None:
    """Print models as a table: `of` is the model that a tuned model was trained from, or that an alias points at."""
    rows = [
        (
            model["id"],
            _kind(model),
            model["parent"] or (None if model["id"] == model["root"] else model["root"]),
            ", ".join(model.get("methods") or ()),
            _training_price(model.get("price")),
            moment(model["created"]) if model["created"] else None,
            model["shutdown_date"],
        )
        for model in models
    ]
    print_table(COLUMNS, rows, console, empty="There are no such models.")


def is_base(model: Mapping[str, Any]) -> bool:
    """Whether a model is a base model, which has what it can be trained by."""
    return "methods" in model


def what_goes(dependents: Mapping[str, Any]) -> str:
    """A model with what is deleted with it. Raises `Refused` if it cannot be deleted now, and says why."""
    if not dependents["deletable"] and not dependents["granted_projects"]:
        raise Refused(str(dependents["reason"]))
    text = str(dependents["model"])
    if count := len(dependents["checkpoints"]):
        text += f" and its {count} checkpoint{'' if count == 1 else 's'}"
    if count := dependents["granted_projects"]:
        text += f", which {count} other project{' uses' if count == 1 else 's use'}"
    return text


def _kind(model: Mapping[str, Any]) -> str:
    if is_base(model):
        return "base"
    return "tuned" if model["id"].startswith("ft:") else "alias"


def _training_price(price: Mapping[str, Any] | None) -> str | None:
    units = {
        "training_per_million_tokens": "a million tokens",
        "training_per_hour": "an hour",
        "training_per_gpu_second": "a GPU-second",
    }
    for name, unit in units.items():
        if price is not None and price[name] is not None:
            return f"{dollars({'value': price[name] / MICROS})} {unit}"
    return None
