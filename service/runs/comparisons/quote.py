"""The estimated cost of a comparison: an answer of every model to each case, and two verdicts of each judge. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from service.billing.prices import inference_cost_micros
from service.datasets.report_schema import FileReport
from service.runs.comparisons.plan import VERDICT_TOKENS
from service.runs.cost_estimate import CostEstimate

INSTRUCTION_TOKENS = 250
"""The tokens of a judge's prompt besides its `instructions`."""

USUAL_VERDICT_TOKENS = 40
INPUT_MARGIN = 2
"""A call's reservation counts definitions and images more carefully than a report does: up to twice as many tokens."""

CALL_TOKENS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """The price of a model's calls, in micro-dollars per million tokens."""

    input_micros: int
    output_micros: int

    def cost(self, input_tokens: int, output_tokens: int) -> int:
        """The cost of one call, in micro-dollars."""
        return inference_cost_micros(
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            input_micros_per_million=self.input_micros,
            output_micros_per_million=self.output_micros,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """A judge's price, and an upper bound of the tokens of its instructions."""

    price: Price
    instruction_tokens: int


def estimate_cost(
    report: FileReport, examples: int, *, models: Sequence[Price], judges: Sequence[Judge], max_tokens: int
) -> CostEstimate:
    """The cost of a comparison over a number of a file's examples.

    The lowest cost assumes answers of one token and no verdicts; the highest assumes the file's longest example every
    time, answered up to the limit.
    """
    tokens = report.tokens
    total, trained = (tokens.total, tokens.trained) if tokens is not None else (0, 0)
    count = max(1, report.examples)
    prompt_tokens, answer_tokens = (total - trained) // count, min(trained // count, max_tokens)
    longest = (tokens.per_example.max if tokens is not None else 0) * INPUT_MARGIN + CALL_TOKENS
    expected = sum(price.cost(prompt_tokens, answer_tokens) for price in models)
    upper = sum(price.cost(longest, max_tokens) for price in models)
    pairs = len(models) - 1
    for judge in judges:
        instructions = INSTRUCTION_TOKENS + judge.instruction_tokens
        expected += 2 * pairs * judge.price.cost(instructions + prompt_tokens + 3 * answer_tokens, USUAL_VERDICT_TOKENS)
        upper += 2 * pairs * judge.price.cost(instructions + 2 * longest + 2 * max_tokens, VERDICT_TOKENS)
    return CostEstimate(
        low_micros=examples * sum(price.cost(prompt_tokens, min(answer_tokens, 1)) for price in models),
        expected_micros=examples * expected,
        upper_micros=examples * upper,
        min_calls=examples * len(models),
        max_calls=examples * (len(models) + 2 * pairs * len(judges)),
    )
