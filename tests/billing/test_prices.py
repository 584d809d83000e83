"""Money in whole micro-dollars, and quotes made of it."""

import datetime as dt
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from service.billing.prices import amount_of, cost_micros
from service.billing.quote import COUNTING_TOLERANCE_PERCENT, estimate
from service.catalogue.models_file import load

tokens = st.integers(0, 10**12)
prices = st.integers(0, 10**9)


class TestCost:
    def test_the_pricing_page_s_own_example(self) -> None:
        """100,000 tokens × 3 epochs on gpt-3.5-turbo = $2.40 (OpenAI's announcement of August 2023)."""
        model = load().find("gpt-3.5-turbo")
        assert model is not None
        price = model.training_micros(dt.date(2023, 8, 22))
        assert price is not None
        quote = estimate(examples=50, tokens_per_epoch=100_000, n_epochs=3, price_micros_per_million=price)
        assert quote.expected_micros == 2_400_000
        assert amount_of(quote.expected_micros).value == 2.4

    @given(tokens, prices)
    def test_is_the_nearest_micro_dollar(self, count: int, price: int) -> None:
        assert abs(Fraction(count * price, 1_000_000) - cost_micros(count, price)) <= Fraction(1, 2)

    @given(tokens, tokens, prices)
    def test_more_tokens_never_cost_less(self, count: int, more: int, price: int) -> None:
        assert cost_micros(count, price) <= cost_micros(count + more, price)

    def test_a_half_rounds_up(self) -> None:
        assert cost_micros(1, 500_000) == 1
        assert cost_micros(1, 499_999) == 0

    @given(st.integers(0, 10**15))
    def test_the_rim_loses_nothing(self, micros: int) -> None:
        assert round(amount_of(micros).value * 1_000_000) == micros


class TestEstimate:
    @given(st.integers(1, 10**6), st.integers(0, 10**9), st.none() | st.integers(1, 50), prices)
    def test_bounds_hold_the_expected_price(self, examples: int, count: int, epochs: int | None, price: int) -> None:
        quote = estimate(examples=examples, tokens_per_epoch=count, n_epochs=epochs, price_micros_per_million=price)
        assert 0 <= quote.low_micros <= quote.expected_micros <= quote.upper_micros
        assert quote.billable_tokens == count * quote.n_epochs
        assert quote.upper_micros * 100 >= quote.expected_micros * (100 + COUNTING_TOLERANCE_PERCENT)
        assert 1 <= quote.n_epochs <= 50

    def test_epochs_come_with_their_reason(self) -> None:
        asked = estimate(examples=10, tokens_per_epoch=1, n_epochs=7, price_micros_per_million=1)
        auto = estimate(examples=2500, tokens_per_epoch=1, n_epochs=None, price_micros_per_million=1)
        assert (asked.n_epochs, asked.epochs_reason) == (7, "as asked for")
        assert "2,500 examples" in auto.epochs_reason
