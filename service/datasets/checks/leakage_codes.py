"""Codes of what a training file and a validation file share; found by `service.datasets.leakage.find`."""

from __future__ import annotations

from service.datasets.checks.registry import declare

SECTION = "Leakage"

LEAKAGE_EXACT = declare(
    "leakage_exact",
    "warning",
    SECTION,
    "A validation example is the same as a training example, so that the validation loss says nothing about new ones.",
    scope="pair",
)
LEAKAGE_PROMPT = declare(
    "leakage_prompt",
    "warning",
    SECTION,
    "The prompt of a validation example stands in the training file with another answer.",
    scope="pair",
)
LEAKAGE_NEAR = declare(
    "leakage_near",
    "warning",
    SECTION,
    "A validation example shares about 80 % of its words or more with a training example, system prompts aside.",
    scope="pair",
)
