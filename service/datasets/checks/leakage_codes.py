"""The codes of train-validation leakage. Their findings come from `service.datasets.leakage.find`."""

from __future__ import annotations

from service.datasets.checks.registry import declare

SECTION = "Leakage"

LEAKAGE_EXACT = declare(
    "leakage_exact",
    "warning",
    SECTION,
    "A validation example is the same as a training example, so its loss says nothing about new examples.",
    scope="pair",
)
LEAKAGE_PROMPT = declare(
    "leakage_prompt",
    "warning",
    SECTION,
    "The prompt of a validation example is in the training file with another answer.",
    scope="pair",
)
LEAKAGE_NEAR = declare(
    "leakage_near",
    "warning",
    SECTION,
    "A validation example shares about 80 % or more of its words with a training example, not counting system prompts.",
    scope="pair",
)
