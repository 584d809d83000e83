"""The prices in a report: what training on the file would cost, model by model. Pure.

A report is made once and shown often, so its prices are filled in when it is shown, from the price list of that day.
"""

import datetime as dt
from collections.abc import Sequence

from service.billing.price_list import Price, price_on
from service.datasets.report_schema import Amount, FileReport, PriceLine
from service.datasets.tokens import ModelPrice
from service.models.catalogue import Catalogue


def price_list(
    catalogue: Catalogue, provider: str, *, today: dt.date, overrides: Sequence[Price] = ()
) -> list[ModelPrice]:
    """Today's price of every model that a provider trains and bills by the token."""
    prices = []
    for model in catalogue.models:
        price, shutdown = price_on(model, overrides, today), model.shutdown_at(provider)
        if price is not None and model.trainable(provider, today):
            prices.append(ModelPrice(model.name, price.micros_per_million, shutdown.stops if shutdown else None))
    return prices


def price_line(price: ModelPrice, tokens: int) -> PriceLine:
    """What `tokens` cost by one price, to the micro-dollar, halves up."""
    amount = None
    if price.micros_per_million_tokens is not None:
        micros = (tokens * price.micros_per_million_tokens + 500_000) // 1_000_000
        amount = Amount(value=micros / 1_000_000)
    return PriceLine(model=price.model, price=amount, shutdown_date=price.shutdown_date)


def price_lines(report: FileReport, prices: Sequence[ModelPrice]) -> list[PriceLine]:
    """The prices of a finished report."""
    return [price_line(price, report.billable_tokens) for price in prices]
