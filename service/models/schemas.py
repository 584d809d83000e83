"""Models on the wire, as the SDK's `Model` has them."""

from typing import Literal

import msgspec


class ModelObject(msgspec.Struct, frozen=True, kw_only=True):
    """A model that the project can ask or train. `shutdown_date` is ISO 8601, null when none is announced.

    `root` is the base model behind it, `parent` the model that it was trained from, or that an alias stands for; null
    for base models, and for what another project has made.
    """

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str
    root: str
    parent: str | None
    shutdown_date: str | None


class ModelList(msgspec.Struct, frozen=True, kw_only=True):
    """Every model of a project."""

    object: Literal["list"] = "list"
    data: list[ModelObject]


class ModelDeleted(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a deletion."""

    id: str
    object: Literal["model"] = "model"
    deleted: bool = True
