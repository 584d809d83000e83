"""Money as integers of micro-dollars (1 USD = 1,000,000). Pure."""

import msgspec

TOKENS_PER_PRICE = 1_000_000
MICROS_PER_CENT = 10_000


class Amount(msgspec.Struct, frozen=True):
    """Money on the wire, as in OpenAI's costs: dollars and their currency."""

    value: float
    currency: str = "usd"


def cost_micros(tokens: int, micros_per_million: int) -> int:
    """What `tokens` cost, to the nearest micro-dollar (a half rounds up)."""
    return (tokens * micros_per_million + TOKENS_PER_PRICE // 2) // TOKENS_PER_PRICE


def asking_cost_micros(
    *, input_tokens: int, output_tokens: int, input_micros_per_million: int, output_micros_per_million: int
) -> int:
    """What a call costs, rounded once, to the nearest micro-dollar (a half rounds up)."""
    exact = input_tokens * input_micros_per_million + output_tokens * output_micros_per_million
    return (exact + TOKENS_PER_PRICE // 2) // TOKENS_PER_PRICE


def dollars(micros: int) -> Amount:
    """An amount for an answer. Decimals exist only here, at the rim."""
    return Amount(micros / 1_000_000)
