"""The price of a generation before it begins: the actual cost lies within."""

from hypothesis import given
from hypothesis import strategies as st

from service.billing.prices import inference_cost_micros
from service.runs.generations.options import MAX_ANSWER_ATTEMPTS, MAX_QUESTION_ATTEMPTS
from service.runs.generations.quote import Rates, estimate_cost
from tests.runs.generations.test_plan import made, options, said_at

RATES = Rates(prompt_tokens=1_000, input_micros_per_million=150_000, output_micros_per_million=600_000)


def test_low_is_below_expected_is_below_upper() -> None:
    price = estimate_cost(options(), RATES, RATES)
    assert 0 < price.low_micros < price.expected_micros < price.upper_micros
    assert (price.min_calls, price.max_calls) == (12, 6 * (MAX_QUESTION_ATTEMPTS + MAX_ANSWER_ATTEMPTS))


def test_more_of_anything_costs_more() -> None:
    assert (
        estimate_cost(options(n_per_topic=6), RATES, RATES).upper_micros
        == 2 * estimate_cost(options(), RATES, RATES).upper_micros
    )


@given(seed=st.integers(0, 10_000))
def test_no_run_costs_more_than_the_upper_price(seed: int) -> None:
    """Whatever is answered, with every answer as long as its limit and a token a character of every prompt."""
    spent = 0
    _, asked = made(options(seed=seed), said_at(seed))
    for call in asked.values():
        said = sum(len(message["content"]) for message in call.body["messages"])
        spent += inference_cost_micros(
            input_tokens=said,
            output_tokens=call.body["max_completion_tokens"],
            input_micros_per_million=RATES.input_micros_per_million,
            output_micros_per_million=RATES.output_micros_per_million,
        )
    first = {call.key.partition("/")[0]: call for call in asked.values() if call.key.endswith("try-1")}
    question, answer = (
        Rates(
            prompt_tokens=sum(len(message["content"]) for message in first[step].body["messages"]) + 100,
            input_micros_per_million=RATES.input_micros_per_million,
            output_micros_per_million=RATES.output_micros_per_million,
        )
        if step in first
        else RATES
        for step in ("question", "answer")
    )
    assert spent <= estimate_cost(options(seed=seed), question, answer).upper_micros
