"""A fast parser for the most common chat rows: messages with only a system, user or assistant role and a string.

For such a row `parse_fast_chat` returns the same example as `formats.read_example`, but only if no check of scope
`example` could find anything in it, so that these checks need not run. It is several times as fast. A file has few
different sequences of roles, so what depends only on the roles is computed once for each sequence.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal, NamedTuple

import msgspec

from service.datasets.parsing.formats import TOKENS_PER_EXAMPLE, TOKENS_PER_MESSAGE, Example, Layout

_MAX_MESSAGES = 64


class FastChatMessage(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """A message with only a system, user or assistant role and a string as content."""

    role: Literal["system", "user", "assistant"]
    content: str


class FastChatRow(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """A chat row with only such messages. msgspec decodes it twice as fast as a row of unknown type."""

    messages: list[FastChatMessage]


class _RoleSequence(NamedTuple):
    """What all rows with the same sequence of roles have in common."""

    layout: Layout
    overhead: int
    has_system: bool


def parse_fast_chat(line: int, row: FastChatRow) -> Example | None:
    """The example that `read_example` returns, or None if a check of scope `example` could find something in the row.

    It accepts rows with an optional system message, then user and assistant messages of which the last is the
    assistant's, all with non-blank content. The example's `row` is empty.
    """
    messages = row.messages
    roles = tuple([message.role for message in messages])
    sequence = _role_sequence(roles)
    if sequence is None:
        return None
    texts = [message.content for message in messages]
    if not all(texts) or any(map(str.isspace, texts)):
        return None
    answer = texts[-1]
    prompt_key = hash((roles, *texts[:-1]))
    return Example(
        line,
        {},
        texts,
        sequence.layout,
        sequence.overhead,
        0,
        0,
        None,
        True,
        texts[0] if sequence.has_system else None,
        answer,
        sequence.layout.pointers[-1],
        True,
        prompt_key,
        hash((prompt_key, answer)),
    )


@lru_cache(maxsize=1_024)
def _role_sequence(roles: tuple[str, ...]) -> _RoleSequence | None:
    """The common values of rows with these roles; None if a check of scope `example` could find something in them."""
    if not 2 <= len(roles) <= _MAX_MESSAGES or roles[-1] != "assistant":
        return None
    if "user" not in roles or "system" in roles[1:]:
        return None
    trained = tuple(index for index, role in enumerate(roles) if role == "assistant")
    layout = Layout(
        pointers=tuple(f"/messages/{index}/content" for index in range(len(roles))),
        roles=roles,
        trained=trained,
        answers=trained,
        labels=roles,
    )
    return _RoleSequence(layout, TOKENS_PER_MESSAGE * len(roles) + TOKENS_PER_EXAMPLE, roles[0] == "system")
