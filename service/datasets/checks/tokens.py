"""Checks of tokens: what a model's limit cuts off, and special tokens that stand in texts.

Declared here, found where tokens are added up (`accounting`).
"""

from __future__ import annotations

from collections.abc import Iterator

from service.datasets.checks.registry import Hit, declare, text_check

SECTION = "Tokens and money"

declare(
    "over_token_limit",
    "warning",
    SECTION,
    "An example has more tokens than the model's limit for one training example. It is cut at the end.",
    fix="drop_over_limit",
    scope="dataset",
)
declare(
    "answer_cut_off",
    "warning",
    SECTION,
    "An example is so long that all that the model shall learn lies beyond the limit: it is paid for in vain.",
    fix="drop_over_limit",
    scope="dataset",
)

_SPECIAL = (
    "<|endoftext|>",
    "<|endofprompt|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|im_sep|>",
    "<|fim_prefix|>",
    "<|fim_middle|>",
    "<|fim_suffix|>",
)


def over_limit(pointer: str, value: str, total: int, limit: int) -> Hit:
    """The hit of an example with `total` tokens where `limit` are allowed."""
    lost = f"the last {total - limit:,} are cut off"
    return Hit(pointer, value, f"{total:,} tokens where the model's limit is {limit:,}: {lost}. Shorten or split it.")


def answer_cut_off(pointer: str, value: str, start: int, limit: int) -> Hit:
    """The hit of an example whose first trained token comes after `start` others, beyond `limit`."""
    return Hit(
        pointer,
        value,
        f"The answer starts after {start:,} tokens, beyond the model's limit of {limit:,}, and is cut off whole. "
        "Shorten what stands before it.",
    )


@text_check("special_token_in_text", "warning", SECTION, pattern=rb"<\|")
def special_token_in_text(text: str) -> Iterator[Hit]:
    """A text spells out a special token such as `<|endoftext|>`. It is counted and trained as plain text, not as the
    token.
    """
    for token in _SPECIAL:
        at = text.find(token)
        if at >= 0:
            yield Hit("", text, f"{token} in a text is plain text, not the special token; remove it.", at)
