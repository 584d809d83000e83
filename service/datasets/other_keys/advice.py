"""Says in a sentence why a key has no place and what to do."""

from __future__ import annotations

from service.datasets.other_keys.find import OtherKey
from service.datasets.report_schema import Format


def advice(found: OtherKey, format: Format) -> str:
    """Why the key has no place, and the choices, without a full stop."""
    holder = "A message" if found.in_message else f"A {format} row"
    key = repr(found.key[:40])
    fix = "drop_extra_columns" if format == "completion" else "drop_unknown_keys"
    match found.fate:
        case "metadata":
            return f"{holder} has no key {key}; it carries nothing to learn, and the fix drop_metadata removes it"
        case "reasoning":
            return (
                f"{holder} has no key {key}: the fix inline_reasoning writes it into the content as <think>…</think>, "
                f"the fix {fix} removes it"
            )
        case "unknown":
            place = "prompt or completion" if format == "completion" else "a message"
            why = found.reason or f"put what the model should learn into {place}"
            return f"{holder} has no key {key}: {why}; the fix {fix} removes it with what it says"
