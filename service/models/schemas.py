"""The wire types of models, as the SDK's `Model`."""

from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType


class BaseModelPrice(msgspec.Struct, frozen=True, kw_only=True):
    """Today's prices of a base model, in micro-dollars: of training by the unit in which it is billed, null if free of
    charge or not set, and of a million tokens of calls to the base model."""

    training_per_million_tokens: int | None
    training_per_hour: int | None
    training_per_gpu_second: int | None
    input_per_million_tokens: int | None
    output_per_million_tokens: int | None


class BaseModelRates(msgspec.Struct, frozen=True, kw_only=True):
    """What a `learning_rate_multiplier` of 1 means for LoRA and for all weights; null for the trainer's default."""

    lora: float | None
    full: float | None


class ModelObject(msgspec.Struct, frozen=True, kw_only=True):
    """A model that the project can call or train. `shutdown_date` is ISO 8601, null when none is announced.

    `root` is the base model. `parent` is the model that a tuned model was trained from, or that an alias points at; it
    is null for base models, and for the models of other projects. The fields from `context_tokens` on are those of base
    models: `methods` are those by which this project can train it today, none if it can only be called;
    `tokenizer_sha256` is null where it is not an open model; `upstreams` are the accounts that train or answer for this
    project today.
    """

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str
    root: str
    parent: str | None
    shutdown_date: str | None
    context_tokens: int | UnsetType = UNSET
    license: str | UnsetType | None = UNSET
    methods: list[str] | UnsetType = UNSET
    formats: list[str] | UnsetType = UNSET
    tools: bool | UnsetType = UNSET
    tokenizer_sha256: str | UnsetType | None = UNSET
    learning_rate: BaseModelRates | UnsetType = UNSET
    price: BaseModelPrice | UnsetType = UNSET
    upstreams: list[str] | UnsetType = UNSET


class ModelList(msgspec.Struct, frozen=True, kw_only=True):
    """Every model of a project."""

    object: Literal["list"] = "list"
    data: list[ModelObject]


class ModelDeleted(msgspec.Struct, frozen=True, kw_only=True):
    """The response to a deletion."""

    id: str
    object: Literal["model"] = "model"
    deleted: bool = True
