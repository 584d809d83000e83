"""The estimated cost of a generation: two calls for each example, and the repeated calls. Pure."""

from dataclasses import dataclass

from service.billing.prices import inference_cost_micros
from service.runs.cost_estimate import CostEstimate
from service.runs.generations.options import (
    MAX_ANSWER_ATTEMPTS,
    MAX_FAULT_CHARS,
    MAX_QUESTION_ATTEMPTS,
    GenerationPlanOptions,
)
from service.runs.generations.prompts import MAX_SHOWN_QUESTION_CHARS, MAX_SHOWN_QUESTIONS

SHORT_QUESTION, USUAL_QUESTION = 15, 50
SHORT_ANSWER, USUAL_ANSWER = 60, 250
SHORT_CALL, USUAL_CALL = 20, 50
"""Tokens of questions, answers and tool calls, as a rule of thumb; a lower limit of the request applies instead."""

USUAL_CALLS_PER_ANSWER = 1.1
"""Calls for each one that is needed: some are repeated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """A step's price in micro-dollars per million tokens, and the tokens of its prompt without a question."""

    prompt_tokens: int
    input_micros_per_million: int
    output_micros_per_million: int

    def cost(self, *, more_input: int, output: int) -> int:
        """The cost of one call, in micro-dollars."""
        return inference_cost_micros(
            input_tokens=self.prompt_tokens + more_input,
            output_tokens=output,
            input_micros_per_million=self.input_micros_per_million,
            output_micros_per_million=self.output_micros_per_million,
        )


def estimate_cost(options: GenerationPlanOptions, question: Rates, answer: Rates) -> CostEstimate:
    """The cost of a generation. The highest assumes every possible attempt, each at its limit."""
    total = options.total
    short, usual = (SHORT_CALL, USUAL_CALL) if options.tools else (SHORT_ANSWER, USUAL_ANSWER)

    def one_example(question_tokens: int, answer_tokens: int) -> int:
        question_tokens = min(question_tokens, options.question.max_tokens)
        answer_tokens = min(answer_tokens, options.answer.max_tokens)
        return question.cost(more_input=0, output=question_tokens) + answer.cost(
            more_input=question_tokens, output=answer_tokens
        )

    longest = options.question.max_tokens
    upper = question.cost(more_input=0, output=longest)
    shown_chars = MAX_SHOWN_QUESTIONS * MAX_SHOWN_QUESTION_CHARS
    upper += (MAX_QUESTION_ATTEMPTS - 1) * question.cost(more_input=shown_chars, output=longest)
    upper += MAX_ANSWER_ATTEMPTS * answer.cost(
        more_input=longest + MAX_FAULT_CHARS, output=max(options.answer.max_tokens, options.answer.larger_max_tokens)
    )
    return CostEstimate(
        low_micros=total * one_example(SHORT_QUESTION, short),
        expected_micros=round(total * one_example(USUAL_QUESTION, usual) * USUAL_CALLS_PER_ANSWER),
        upper_micros=total * upper,
        min_calls=2 * total,
        max_calls=(MAX_QUESTION_ATTEMPTS + MAX_ANSWER_ATTEMPTS) * total,
    )
