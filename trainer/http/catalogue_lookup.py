"""Finds a model's weights by its name."""

from dataclasses import dataclass

from ..engines.port import Base, Engine
from ..store import Store
from .errors import ApiError


@dataclass(frozen=True, slots=True)
class FoundModel:
    """A model that exists; `weights` is None for a base model."""

    name: str
    base: str
    weights: str | None


def find_base(engine: Engine, name: str) -> Base | None:
    """The base model of that name, or None."""
    return next((base for base in engine.bases() if base.name == name), None)


def find_model(store: Store, engine: Engine, name: str) -> FoundModel:
    """A base model, a fine-tuned one or a checkpoint; 404 `model_not_found`."""
    if find_base(engine, name) is not None:
        return FoundModel(name, name, None)
    row = store.row("SELECT base, weights FROM models WHERE id = ?", name)
    if row is None:
        raise ApiError(404, f"The model {name!r} does not exist.", param="model", code="model_not_found")
    return FoundModel(name, row["base"], row["weights"])
