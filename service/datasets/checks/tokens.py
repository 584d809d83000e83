"""Checks of tokens: examples over a model's token limit, and special tokens in texts.

The checks of the limit are declared here; their findings come from `report.token_accounting`.
"""

from __future__ import annotations

from collections.abc import Iterator

from service.datasets.checks.registry import Hit, declare, text_check

SECTION = "Tokens and money"

declare(
    "over_token_limit",
    "warning",
    SECTION,
    "An example has more tokens than the model's limit for one training example. Its end is cut off.",
    fix="drop_over_limit",
    scope="dataset",
)
declare(
    "answer_cut_off",
    "warning",
    SECTION,
    "An example is so long that its whole answer lies beyond the limit. It is billed, and teaches nothing.",
    fix="drop_over_limit",
    scope="dataset",
)

declare(
    "template_cannot_render",
    "error",
    SECTION,
    "The chat template of an open model cannot render an example: it wants other roles or another order of them, has "
    "no tools, renders an answer so that it cannot be found in the text, or the model reads no images.",
)

SPECIAL_TOKENS = (
    "<|endoftext|>",
    "<|endofprompt|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|im_sep|>",
    "<|fim_prefix|>",
    "<|fim_middle|>",
    "<|fim_suffix|>",
)
"""OpenAI's, and ChatML's; an open model's own are those of its tokenizer."""


def over_limit(pointer: str, value: str, total: int, limit: int) -> Hit:
    """The finding for an example whose `total` tokens exceed the model's `limit`."""
    message = (
        f"This example has {total:,} tokens; the model's limit is {limit:,}, so the last {total - limit:,} are cut "
        "off. Shorten or split it."
    )
    return Hit(pointer, value, message)


def answer_cut_off(pointer: str, value: str, start: int, limit: int) -> Hit:
    """The hit of an example whose answer starts after `start` tokens, beyond `limit`."""
    return Hit(
        pointer,
        value,
        f"The answer starts after {start:,} tokens, beyond the model's limit of {limit:,}, and is cut off entirely. "
        "Shorten the text before it.",
    )


def not_rendered(model: str, reason: str) -> str:
    """The message for an example that the chat template of an open model cannot render, for a reason."""
    return (
        f"The chat template of {model} cannot render this example: {reason[:300]}. Change the example, or take a model "
        "whose template can."
    )


def special_token(pointer: str, text: str, token: str, at: int, model: str) -> Hit:
    """The hit of a text that contains a special token of an open model, at a position."""
    message = f"{token} in a text is read as the special token by {model}, in training and in use; remove it."
    return Hit(pointer, text, message, at)


@text_check("special_token_in_text", "warning", SECTION, pattern=rb"<\|")
def special_token_in_text(text: str) -> Iterator[Hit]:
    """A text contains the name of a special token such as `<|endoftext|>`. OpenAI counts and trains it as plain text;
    an open model whose tokenizer has the token reads the token.
    """
    for token in SPECIAL_TOKENS:
        at = text.find(token)
        if at >= 0:
            message = (
                f"{token} in a text is trained as plain text, or as the special token by an open model that has it"
            )
            yield Hit("", text, f"{message}; remove it.", at)
