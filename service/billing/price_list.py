"""Which price holds on a day: the catalogue's, or one that the platform team has set. Pure.

Of all prices that have begun, the one that began last holds; of two from the same day, the platform team's.
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from service.catalogue.base_models import BaseModel


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """A price from a day on: micro-dollars per million trained tokens, and where it comes from."""

    model: str
    since: dt.date
    micros_per_million: int
    source: str
    origin: Literal["catalogue", "override"]


@dataclass(frozen=True, slots=True, kw_only=True)
class InferencePrice:
    """A price of asking a model from a day on: micro-dollars per million tokens read and written.

    `tuned` says that it is the price of models trained from `model`, not of itself.
    """

    model: str
    tuned: bool
    since: dt.date
    input_micros_per_million: int
    output_micros_per_million: int
    source: str
    origin: Literal["catalogue", "override"]


def prices_of(model: BaseModel, overrides: Sequence[Price]) -> list[Price]:
    """Every price of a model, the latest first; `overrides` may hold other models' too."""
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
    """The price that holds on a day; None when the model is not billed by the token."""
    return next((price for price in prices_of(model, overrides) if price.since <= day), None)


def inference_prices_of(model: BaseModel, overrides: Sequence[InferencePrice], *, tuned: bool) -> list[InferencePrice]:
    """Every price of asking a model, or those trained from it, the latest first."""
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
    """The price that holds on a day; None for a model that costs nothing to ask."""
    prices = inference_prices_of(model, overrides, tuned=tuned)
    return next((price for price in prices if price.since <= day), None)
