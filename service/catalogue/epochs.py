"""The number of epochs that `auto` stands for: OpenAI's documented rule, applied here and sent upstream explicitly."""

from __future__ import annotations

TARGET_EPOCHS = 3
MIN_TARGET_EXAMPLES = 100
MAX_TARGET_EXAMPLES = 25_000
MAX_DEFAULT_EPOCHS = 25


def default_epochs(n_examples: int) -> int:
    """The default epochs for a file: 3, more for a small file (at most 25), fewer for a large one (at least 1).

    Returns 0 for a file without examples. Source: OpenAI cookbook, "Data preparation and analysis for chat model
    fine-tuning", cost estimation.
    """
    if n_examples <= 0:
        return 0
    if n_examples * TARGET_EPOCHS < MIN_TARGET_EXAMPLES:
        return min(MAX_DEFAULT_EPOCHS, MIN_TARGET_EXAMPLES // n_examples)
    if n_examples * TARGET_EPOCHS > MAX_TARGET_EXAMPLES:
        return max(1, MAX_TARGET_EXAMPLES // n_examples)
    return TARGET_EPOCHS


def epochs_reason(n_examples: int) -> str:
    """A sentence that explains the result of `default_epochs(n_examples)`, for reports and quotes."""
    epochs = default_epochs(n_examples)
    if epochs == 0:
        return "The file has no examples to train on."
    if n_examples * TARGET_EPOCHS < MIN_TARGET_EXAMPLES:
        return (
            f"{n_examples} examples are few, so they are trained for {epochs} epochs: close to {MIN_TARGET_EXAMPLES} "
            "steps, and at most 25 epochs."
        )
    if n_examples * TARGET_EPOCHS > MAX_TARGET_EXAMPLES:
        return (
            f"{n_examples} examples are many, so they are trained for {epochs} epochs: close to {MAX_TARGET_EXAMPLES} "
            "steps, and at least 1 epoch."
        )
    return f"{TARGET_EPOCHS} epochs are the default for {n_examples} examples."
