"""Money as integers of micro-dollars (1 USD = 1,000,000): the one place that rounds it and renders it. Pure."""

import msgspec

TOKENS_PER_PRICE = 1_000_000
"""Prices are given per million tokens."""

MICROS_PER_DOLLAR = 1_000_000
MICROS_PER_CENT = 10_000


class Amount(msgspec.Struct, frozen=True):
    """Money on the wire, in OpenAI's shape for costs: `value` in units of `currency` (dollars, not cents)."""

    value: float
    currency: str = "usd"


def cost_micros(tokens: int, micros_per_million: int) -> int:
    """The cost of `tokens`, rounded to the nearest micro-dollar (a half rounds up)."""
    return _per_million(tokens * micros_per_million)


def inference_cost_micros(
    *, input_tokens: int, output_tokens: int, input_micros_per_million: int, output_micros_per_million: int
) -> int:
    """The cost of a call: input and output are summed first and rounded once, to the nearest micro-dollar (half up)."""
    return _per_million(input_tokens * input_micros_per_million + output_tokens * output_micros_per_million)


def gpu_cost_micros(gpu_seconds: float, micros_per_gpu_second: int) -> int:
    """The cost of GPU-seconds, which count to the millisecond, rounded to the nearest micro-dollar (half up)."""
    return (round(gpu_seconds * 1000) * micros_per_gpu_second + 500) // 1000


def micros_of_dollars(dollars: float) -> int:
    """An amount that a caller gave in dollars, rounded to the nearest micro-dollar (a half to the even one)."""
    return round(dollars * MICROS_PER_DOLLAR)


def micros_of_cents(cents: int) -> int:
    """An amount that a caller gave in cents, as OpenAI's spend limits and alerts have it."""
    return cents * MICROS_PER_CENT


def cents_of(micros: int) -> int:
    """An amount in whole cents, for spend limits and alerts, which are only ever set in whole cents."""
    return micros // MICROS_PER_CENT


def amount_of(micros: int) -> Amount:
    """An amount for a response. Only responses and events show decimals; everything else counts in micro-dollars."""
    return Amount(micros / MICROS_PER_DOLLAR)


def amount_fields(micros: int) -> dict[str, object]:
    """An amount for the data of an event, which is stored as JSON: `{"value": 0.21, "currency": "usd"}`."""
    fields: dict[str, object] = msgspec.to_builtins(amount_of(micros))
    return fields


def dollar_text(micros: int, *, decimals: int = 2) -> str:
    """An amount for a message: `$0.21`."""
    return f"${micros / MICROS_PER_DOLLAR:,.{decimals}f}"


def _per_million(micro_tokens: int) -> int:
    return (micro_tokens + TOKENS_PER_PRICE // 2) // TOKENS_PER_PRICE
