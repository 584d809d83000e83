"""Finds the price in force on a day: the catalogue's, or one that the platform team set. Pure.

The price with the latest start is in force; of two that start on the same day, the platform team's.
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from service.catalogue.base_models import BaseModel


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """A training price from a day on: micro-dollars per million trained tokens, and its source."""

    model: str
    since: dt.date
    micros_per_million: int
    source: str
    origin: Literal["catalogue", "override"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuSecondPrice:
    """A price of training from a day on, of the models file: micro-dollars per GPU-second, and its source."""

    model: str
    since: dt.date
    micros_per_gpu_second: int
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class InferencePrice:
    """A price of inference from a day on: micro-dollars per million input and output tokens.

    `tuned` means that it is for models trained from `model`, not for `model` itself.
    """

    model: str
    tuned: bool
    since: dt.date
    input_micros_per_million: int
    output_micros_per_million: int
    source: str
    origin: Literal["catalogue", "override"]


def prices_of(model: BaseModel, overrides: Sequence[Price]) -> list[Price]:
    """Every training price of a model, the latest first; `overrides` may include those of other models."""
    shipped = [
        Price(
            model=model.name,
            since=price.since,
            micros_per_million=price.micros,
            source=price.source,
            origin="catalogue",
        )
        for price in model.training
    ]
    own = [price for price in overrides if price.model == model.name]
    return sorted([*shipped, *own], key=lambda price: (price.since, price.origin == "override"), reverse=True)


def price_on(model: BaseModel, overrides: Sequence[Price], day: dt.date) -> Price | None:
    """The training price in force on a day; None when the model is not billed by the token."""
    return next((price for price in prices_of(model, overrides) if price.since <= day), None)


def gpu_second_prices_of(model: BaseModel) -> list[GpuSecondPrice]:
    """Every price of training by the GPU-second, the latest first."""
    prices = [
        GpuSecondPrice(model=model.name, since=price.since, micros_per_gpu_second=price.micros, source=price.source)
        for price in model.training_gpu_second
    ]
    return sorted(prices, key=lambda price: price.since, reverse=True)


def training_price_on(model: BaseModel, overrides: Sequence[Price], day: dt.date) -> Price | GpuSecondPrice | None:
    """What training costs on a day: a price by the token if one is in force, else one by the GPU-second.

    A model that never has a price is free, and metered. None if its price is not in force yet, or is one by the hour.
    """
    by_token = price_on(model, overrides, day)
    if by_token is not None:
        return by_token
    by_gpu_second = next((price for price in gpu_second_prices_of(model) if price.since <= day), None)
    if by_gpu_second is not None or has_training_price(model):
        return by_gpu_second
    return Price(model=model.name, since=day, micros_per_million=0, source="no price", origin="catalogue")


def has_training_price(model: BaseModel) -> bool:
    """Whether the models file prices the model's training, in any unit and from any day on."""
    return bool(model.training or model.training_gpu_second or model.training_hour)


def inference_prices_of(model: BaseModel, overrides: Sequence[InferencePrice], *, tuned: bool) -> list[InferencePrice]:
    """Every price of inference with a model, or with models trained from it, the latest first."""
    shipped = [
        InferencePrice(
            model=model.name,
            tuned=tuned,
            since=price.since,
            input_micros_per_million=price.input_micros,
            output_micros_per_million=price.output_micros,
            source=price.source,
            origin="catalogue",
        )
        for price in (model.inference if tuned else model.base_inference)
    ]
    own = [price for price in overrides if price.model == model.name and price.tuned == tuned]
    return sorted([*shipped, *own], key=lambda price: (price.since, price.origin == "override"), reverse=True)


def inference_price_on(
    model: BaseModel, overrides: Sequence[InferencePrice], day: dt.date, *, tuned: bool
) -> InferencePrice | None:
    """The inference price in force on a day; None for a model whose inference is free."""
    prices = inference_prices_of(model, overrides, tuned=tuned)
    return next((price for price in prices if price.since <= day), None)
