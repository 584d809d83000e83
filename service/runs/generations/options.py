"""What a generation was asked for, with every default filled in: what its plan is made of. Pure."""

from typing import Any

import msgspec


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One of the two calls that make an example.

    `prompt` null is the default one (`prompts.py`), `temperature` null the model's own. An answer that `max_tokens` cut
    is asked again with `larger_max_tokens`, the most that the model gives.
    """

    model: str
    prompt: str | None
    temperature: float | None
    max_tokens: int
    larger_max_tokens: int


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """A generation: `n_per_topic` examples of each topic. With `tools`, answers are calls of them."""

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
        """How many examples."""
        return len(self.topics) * self.n_per_topic

    def topic_of(self, item: int) -> str:
        """The topic of an example. They take turns, so that a run that ends early has some of each."""
        return self.topics[item % len(self.topics)]

    def number_of(self, item: int) -> int:
        """Which example of its topic it is, from 1."""
        return item // len(self.topics) + 1

    def tool_of(self, item: int) -> dict[str, Any] | None:
        """The definition of the function that an example is to call."""
        if not self.tools:
            return None
        function: dict[str, Any] = self.tools[self.number_of(item) % len(self.tools)]["function"]
        return function
