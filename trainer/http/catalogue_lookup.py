"""Finds a model's weights by its name."""

from dataclasses import dataclass

from .. import catalogue
from ..store import Store
from .errors import ApiError


@dataclass(frozen=True, slots=True)
class FoundModel:
    """A model that exists; `weights` is None for a base model."""

    name: str
    base: str
    weights: str | None


def find_model(store: Store, name: str) -> FoundModel:
    """A base model, a fine-tuned one or a checkpoint; 404 `model_not_found`."""
    if catalogue.is_base(name):
        return FoundModel(name, name, None)
    row = store.row("SELECT base, weights FROM models WHERE id = ?", name)
    if row is None:
        raise ApiError(404, f"The model {name!r} does not exist.", param="model", code="model_not_found")
    return FoundModel(name, row["base"], row["weights"])
