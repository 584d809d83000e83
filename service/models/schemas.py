"""The wire types of models, as the SDK's `Model`."""

from typing import Literal

import msgspec


class ModelObject(msgspec.Struct, frozen=True, kw_only=True):
    """A model that the project can call or train. `shutdown_date` is ISO 8601, null when none is announced.

    `root` is the base model. `parent` is the model that a tuned model was trained from, or that an alias points at; it
    is null for base models, and for the models of other projects.
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
    """The response to a deletion."""

    id: str
    object: Literal["model"] = "model"
    deleted: bool = True
