"""The prices in a report: what training on the file costs, model by model. Pure functions.

A report is made once and shown many times. Its prices are computed each time from that day's price list.
"""

import datetime as dt
from collections.abc import Sequence

from service.billing.price_list import Price, price_on
from service.billing.prices import amount_of, cost_micros
from service.catalogue.base_models import Catalogue
from service.catalogue.tokens import ModelPrice
from service.datasets.report_schema import PriceLine


def price_list(
    catalogue: Catalogue, provider: str, *, today: dt.date, overrides: Sequence[Price] = ()
) -> list[ModelPrice]:
    """The price on `today` of every model that a provider trains and bills by the token."""
    prices = []
    for model in catalogue.models:
        price, shutdown = price_on(model, overrides, today), model.shutdown_at(provider)
        if price is not None and model.trainable(provider, today):
            stops = shutdown.stops if shutdown else None
            prices.append(ModelPrice(model.name, price.micros_per_million, stops, model.formats))
    return prices


def price_lines(format: str | None, tokens: int, prices: Sequence[ModelPrice]) -> list[PriceLine]:
    """The cost of training on `tokens` for each model that supports the format; for all models if `format` is None."""
    return [_line(price, tokens) for price in prices if format is None or format in price.formats]


def _line(price: ModelPrice, tokens: int) -> PriceLine:
    amount = None
    if price.micros_per_million_tokens is not None:
        amount = amount_of(cost_micros(tokens, price.micros_per_million_tokens))
    return PriceLine(model=price.model, price=amount, shutdown_date=price.shutdown_date)
