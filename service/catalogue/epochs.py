"""How many epochs `auto` means: the documented rule, resolved here and sent upstream explicitly."""

from __future__ import annotations

TARGET_EPOCHS = 3
MIN_TARGET_EXAMPLES = 100
MAX_TARGET_EXAMPLES = 25_000
MAX_DEFAULT_EPOCHS = 25


def default_epochs(n_examples: int) -> int:
    """Epochs for `n_examples`: 3, more for a small file (at most 25), fewer for a large one (at least 1).

    Source: OpenAI cookbook, "Data preparation and analysis for chat model fine-tuning", cost estimation. A file without
    examples has no epochs: 0.
    """
    if n_examples <= 0:
        return 0
    if n_examples * TARGET_EPOCHS < MIN_TARGET_EXAMPLES:
        return min(MAX_DEFAULT_EPOCHS, MIN_TARGET_EXAMPLES // n_examples)
    if n_examples * TARGET_EPOCHS > MAX_TARGET_EXAMPLES:
        return max(1, MAX_TARGET_EXAMPLES // n_examples)
    return TARGET_EPOCHS


def epochs_reason(n_examples: int) -> str:
    """One sentence that says why `default_epochs(n_examples)` is what it is, for reports and quotes."""
    epochs = default_epochs(n_examples)
    if epochs == 0:
        return "The file has no examples to train on."
    if n_examples * TARGET_EPOCHS < MIN_TARGET_EXAMPLES:
        return (
            f"{n_examples} examples are few: {epochs} epochs bring them near {MIN_TARGET_EXAMPLES} steps (at most 25)."
        )
    if n_examples * TARGET_EPOCHS > MAX_TARGET_EXAMPLES:
        return f"{n_examples} examples are many: {epochs} epochs stay near {MAX_TARGET_EXAMPLES} steps (at least 1)."
    return f"{TARGET_EPOCHS} epochs are the default for {n_examples} examples."
