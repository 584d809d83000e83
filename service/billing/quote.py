"""Estimates the cost of a job before it is created. Pure.

A price by the token: tokens × epochs × price. The upstream counts tokens with its own chat template, so the bounds are
ten percent below and above. A price by the GPU-second: the GPU-seconds that such jobs take (`throughput.py`) × price,
with the bounds of that estimate. A job reserves the upper bound, or its budget.
"""

from dataclasses import dataclass

from service.billing.prices import cost_micros, gpu_cost_micros
from service.billing.throughput import GpuSeconds
from service.catalogue.epochs import default_epochs

COUNTING_TOLERANCE_PERCENT = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """An estimated cost and how it was calculated. Amounts in micro-dollars; tokens of all epochs together.

    With a price by the GPU-second, the price by the token is 0. `gpu_seconds` is None if nothing is known of the speed.
    """

    n_epochs: int
    epochs_reason: str
    billable_tokens: int
    price_micros_per_million: int
    low_micros: int
    expected_micros: int
    upper_micros: int
    price_micros_per_gpu_second: int | None = None
    gpu_seconds: GpuSeconds | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """What is trained: tokens of all epochs together, and the epochs."""

    n_epochs: int
    epochs_reason: str
    tokens: int


def training(*, examples: int, tokens_per_epoch: int, n_epochs: int | None) -> Training:
    """The training on a dataset; `n_epochs` None means `auto`, resolved by `catalogue.epochs`."""
    if n_epochs is None:
        epochs, reason = default_epochs(examples), f"auto, for {examples:,} examples"
    else:
        epochs, reason = n_epochs, "as asked for"
    return Training(n_epochs=epochs, epochs_reason=reason, tokens=tokens_per_epoch * epochs)


def estimate(*, examples: int, tokens_per_epoch: int, n_epochs: int | None, price_micros_per_million: int) -> Estimate:
    """The cost at a price by the token."""
    trained = training(examples=examples, tokens_per_epoch=tokens_per_epoch, n_epochs=n_epochs)
    expected = cost_micros(trained.tokens, price_micros_per_million)
    tolerance = -(-expected * COUNTING_TOLERANCE_PERCENT // 100)
    return Estimate(
        n_epochs=trained.n_epochs,
        epochs_reason=trained.epochs_reason,
        billable_tokens=trained.tokens,
        price_micros_per_million=price_micros_per_million,
        low_micros=expected - tolerance,
        expected_micros=expected,
        upper_micros=expected + tolerance,
    )


def estimate_by_gpu_second(
    trained: Training, *, price_micros_per_gpu_second: int, gpu_seconds: GpuSeconds | None, budget_micros: int | None
) -> Estimate:
    """The cost at a price by the GPU-second. A budget is the upper bound, and what is expected at most.

    Without `gpu_seconds` any cost up to the budget is possible, so the budget is expected; without both, nothing.
    """
    bounds = [budget_micros or 0] * 2
    low = 0
    if gpu_seconds is not None:
        amounts = [gpu_seconds.low, gpu_seconds.expected, gpu_seconds.high]
        low, *bounds = [gpu_cost_micros(amount, price_micros_per_gpu_second) for amount in amounts]
    if budget_micros is not None:
        low, bounds = min(low, budget_micros), [min(bounds[0], budget_micros), budget_micros]
    return Estimate(
        n_epochs=trained.n_epochs,
        epochs_reason=trained.epochs_reason,
        billable_tokens=trained.tokens,
        price_micros_per_million=0,
        low_micros=low,
        expected_micros=bounds[0],
        upper_micros=bounds[1],
        price_micros_per_gpu_second=price_micros_per_gpu_second,
        gpu_seconds=gpu_seconds,
    )
