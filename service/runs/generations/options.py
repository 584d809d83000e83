"""The options of a generation, with every default filled in, as its plan takes them. Pure."""

from typing import Any

import msgspec


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
