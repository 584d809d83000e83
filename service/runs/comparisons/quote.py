"""What a comparison may cost: each example by every model, and two verdicts for each that a judge looks at. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from service.billing.prices import inference_cost_micros
from service.datasets.report_schema import FileReport
from service.runs.comparisons.plan import VERDICT_TOKENS

INSTRUCTION_TOKENS = 250
"""What a judge is told besides its own instructions."""

USUAL_VERDICT_TOKENS = 40
INPUT_MARGIN = 2
"""Definitions and images are counted more carefully when a call reserves than in a report: at most twice as much."""

CALL_TOKENS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What asking a model costs: micro-dollars per million tokens."""

    input_micros: int
    output_micros: int

    def cost(self, input_tokens: int, output_tokens: int) -> int:
        """Of one call."""
        return inference_cost_micros(
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            input_micros_per_million=self.input_micros,
            output_micros_per_million=self.output_micros,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """A judge's price, and the tokens of its instructions at most."""

    price: Price
    instruction_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """Micro-dollars, and calls. The upper price is every example as the longest one, answered up to the limit."""

    low_micros: int
    expected_micros: int
    upper_micros: int
    fewest_calls: int
    most_calls: int


def estimate(
    report: FileReport, examples: int, *, models: Sequence[Price], judges: Sequence[Judge], max_tokens: int
) -> Estimate:
    """The price of a comparison over so many examples of a file. The lowest one is short answers, all the same."""
    tokens = report.tokens
    total, trained = (tokens.total, tokens.trained) if tokens is not None else (0, 0)
    count = max(1, report.examples)
    asked, answered = (total - trained) // count, min(trained // count, max_tokens)
    longest = (tokens.per_example.max if tokens is not None else 0) * INPUT_MARGIN + CALL_TOKENS
    expected = sum(price.cost(asked, answered) for price in models)
    upper = sum(price.cost(longest, max_tokens) for price in models)
    pairs = len(models) - 1
    for judge in judges:
        told = INSTRUCTION_TOKENS + judge.instruction_tokens
        expected += 2 * pairs * judge.price.cost(told + asked + 3 * answered, USUAL_VERDICT_TOKENS)
        upper += 2 * pairs * judge.price.cost(told + 2 * longest + 2 * max_tokens, VERDICT_TOKENS)
    return Estimate(
        low_micros=examples * sum(price.cost(asked, min(answered, 1)) for price in models),
        expected_micros=examples * expected,
        upper_micros=examples * upper,
        fewest_calls=examples * len(models),
        most_calls=examples * (len(models) + 2 * pairs * len(judges)),
    )
