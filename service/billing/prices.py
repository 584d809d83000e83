"""Money as integers of micro-dollars (1 USD = 1,000,000). Pure."""

import msgspec

TOKENS_PER_PRICE = 1_000_000


class Amount(msgspec.Struct, frozen=True):
    """Money on the wire, as in OpenAI's costs: dollars and their currency."""

    value: float
    currency: str = "usd"


def cost_micros(tokens: int, micros_per_million: int) -> int:
    """What `tokens` cost, to the nearest micro-dollar (a half rounds up)."""
    return (tokens * micros_per_million + TOKENS_PER_PRICE // 2) // TOKENS_PER_PRICE


def dollars(micros: int) -> Amount:
    """An amount for an answer. Decimals exist only here, at the rim."""
    return Amount(micros / 1_000_000)
