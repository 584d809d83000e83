"""Estimates the cost of a job before it is created. Pure.

A quote is tokens × epochs × price. The upstream counts tokens with its own chat template, so the bounds are ten percent
below and above; a job reserves the upper bound.
"""

from dataclasses import dataclass

from service.billing.prices import cost_micros
from service.catalogue.epochs import default_epochs

COUNTING_TOLERANCE_PERCENT = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """An estimated cost and how it was calculated. Amounts in micro-dollars; tokens of all epochs together."""

    n_epochs: int
    epochs_reason: str
    billable_tokens: int
    price_micros_per_million: int
    low_micros: int
    expected_micros: int
    upper_micros: int


def estimate(*, examples: int, tokens_per_epoch: int, n_epochs: int | None, price_micros_per_million: int) -> Estimate:
    """The estimate for a dataset; `n_epochs` None means `auto`, resolved by `catalogue.epochs`."""
    if n_epochs is None:
        epochs, reason = default_epochs(examples), f"auto, for {examples:,} examples"
    else:
        epochs, reason = n_epochs, "as asked for"
    tokens = tokens_per_epoch * epochs
    expected = cost_micros(tokens, price_micros_per_million)
    tolerance = -(-expected * COUNTING_TOLERANCE_PERCENT // 100)
    return Estimate(
        n_epochs=epochs,
        epochs_reason=reason,
        billable_tokens=tokens,
        price_micros_per_million=price_micros_per_million,
        low_micros=expected - tolerance,
        expected_micros=expected,
        upper_micros=expected + tolerance,
    )
