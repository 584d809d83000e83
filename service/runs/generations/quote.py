"""What a generation may cost: the two calls of an example, once or again and again, short or at their limits. Pure."""

from dataclasses import dataclass

from service.billing.prices import inference_cost_micros
from service.runs.generations.options import Options
from service.runs.generations.plan import ANSWER_TRIES, MOST_FAULT_CHARS, QUESTION_TRIES
from service.runs.generations.prompts import MOST_ASKED_CHARS, MOST_ASKED_SHOWN

SHORT_QUESTION, USUAL_QUESTION = 15, 50
SHORT_ANSWER, USUAL_ANSWER = 60, 250
SHORT_CALL, USUAL_CALL = 20, 50
"""Tokens. What questions, answers and calls of tools come to, as a rule of thumb; limits hold below them."""

USUAL_AGAIN = 1.1
"""Some calls are made again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """What a step costs: micro-dollars per million tokens, and the tokens of its prompt without a question."""

    prompt_tokens: int
    input_micros_per_million: int
    output_micros_per_million: int

    def cost(self, *, more_input: int, output: int) -> int:
        """Of one call."""
        return inference_cost_micros(
            input_tokens=self.prompt_tokens + more_input,
            output_tokens=output,
            input_micros_per_million=self.input_micros_per_million,
            output_micros_per_million=self.output_micros_per_million,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """Micro-dollars, and calls."""

    low_micros: int
    expected_micros: int
    upper_micros: int
    fewest_calls: int
    most_calls: int


def estimate(options: Options, question: Rates, answer: Rates) -> Estimate:
    """The price of a generation. The upper one is what every try at its limit costs."""
    total = options.total
    short, usual = (SHORT_CALL, USUAL_CALL) if options.tools else (SHORT_ANSWER, USUAL_ANSWER)

    def once(asked: int, said: int) -> int:
        asked, said = min(asked, options.question.max_tokens), min(said, options.answer.max_tokens)
        return question.cost(more_input=0, output=asked) + answer.cost(more_input=asked, output=said)

    longest = options.question.max_tokens
    upper = question.cost(more_input=0, output=longest)
    shown = MOST_ASKED_SHOWN * MOST_ASKED_CHARS
    upper += (QUESTION_TRIES - 1) * question.cost(more_input=shown, output=longest)
    upper += ANSWER_TRIES * answer.cost(
        more_input=longest + MOST_FAULT_CHARS, output=max(options.answer.max_tokens, options.answer.larger_max_tokens)
    )
    return Estimate(
        low_micros=total * once(SHORT_QUESTION, short),
        expected_micros=round(total * once(USUAL_QUESTION, usual) * USUAL_AGAIN),
        upper_micros=total * upper,
        fewest_calls=2 * total,
        most_calls=(QUESTION_TRIES + ANSWER_TRIES) * total,
    )
