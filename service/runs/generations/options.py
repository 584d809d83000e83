"""What a generation is given and what it reports: its options, with every default filled in, and its counts. Pure."""

from typing import Any

import msgspec

MAX_QUESTION_ATTEMPTS = 4
MAX_ANSWER_ATTEMPTS = 3
MAX_FAULT_CHARS = 300
"""How often a question and an answer are requested, and how much of an answer's fault the next request repeats."""


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """The options of one of the two calls that make an example.

    Without a `prompt` the default one is used (`prompts.py`), without a `temperature` the model's own. An answer that
    was cut at `max_tokens` is requested again with `larger_max_tokens`.
    """

    model: str
    prompt: str | None
    temperature: float | None
    max_tokens: int
    larger_max_tokens: int


class GenerationPlanOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The options of a generation: `n_per_topic` examples of each topic. With `tools`, the answers are tool calls."""

    topics: list[str]
    n_per_topic: int
    question: Step
    answer: Step
    system_prompt: str | None
    tools: list[dict[str, Any]] | None
    seed: int
    filename: str

    @property
    def total(self) -> int:
        """The number of examples."""
        return len(self.topics) * self.n_per_topic

    def topic_of(self, item: int) -> str:
        """The topic of an example. Topics alternate, so that a run that ends early has examples of each."""
        return self.topics[item % len(self.topics)]

    def number_of(self, item: int) -> int:
        """The number of an example within its topic, from 1."""
        return item // len(self.topics) + 1

    def tool_of(self, item: int) -> dict[str, Any] | None:
        """The definition of the function that an example has to call; None without tools."""
        if not self.tools:
            return None
        function: dict[str, Any] = self.tools[self.number_of(item) % len(self.tools)]["function"]
        return function


class GenerationOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of a generation, in counts.

    `near_duplicates`, `unusable_questions`, `cut`, `empty_answers` and `invalid_calls` count rejected calls; `dropped`
    counts, by reason, the examples that were given up; `missing` counts those and the ones that were not attempted.
    """

    examples: int
    missing: int
    fillers_removed: int
    near_duplicates: int
    unusable_questions: int
    cut: int
    empty_answers: int
    invalid_calls: int
    dropped: dict[str, int]
