"""The common chat row, read several times as fast: messages with nothing but a common role and a string.

`parse_fast_chat` says of such a row what `formats.read_example` says of it, and only where no check of scope `example`
finds anything in it, so that those need not run. Files have few different sequences of roles, so what follows from the
roles alone is worked out once for each.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal, NamedTuple

import msgspec

from service.datasets.parsing.formats import TOKENS_PER_EXAMPLE, TOKENS_PER_MESSAGE, Example, Layout

_MAX_MESSAGES = 64


class FastChatMessage(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """A message with nothing but a common role and a string."""

    role: Literal["system", "user", "assistant"]
    content: str


class FastChatRow(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """A chat row with nothing but plain messages: decoded twice as fast as a row of any shape."""

    messages: list[FastChatMessage]


class _Shape(NamedTuple):
    layout: Layout
    overhead: int
    has_system: bool


def parse_fast_chat(line: int, row: FastChatRow) -> Example | None:
    """The same as `read_example` for a row on which no check of scope `example` finds anything; else None.

    That row has nothing but `messages`: an optional system message, then user and assistant messages that end with the
    assistant, all with non-blank strings as content and nothing else. The example's `row` is empty.
    """
    messages = row.messages
    roles = tuple([message.role for message in messages])
    shape = _shape(roles)
    if shape is None:
        return None
    texts = [message.content for message in messages]
    for text in texts:
        if not text or text.isspace():
            return None
    answer = texts[-1]
    prompt_key = hash((roles, *texts[:-1]))
    return Example(
        line,
        {},
        texts,
        shape.layout,
        shape.overhead,
        0,
        0,
        None,
        True,
        texts[0] if shape.has_system else None,
        answer,
        shape.layout.pointers[-1],
        True,
        prompt_key,
        hash((prompt_key, answer)),
    )


@lru_cache(maxsize=1_024)
def _shape(roles: tuple[str, ...]) -> _Shape | None:
    """What rows with these roles have in common; None where a check of scope `example` could find something."""
    if not 2 <= len(roles) <= _MAX_MESSAGES or roles[-1] != "assistant":
        return None
    if "user" not in roles or "system" in roles[1:]:
        return None
    layout = Layout(
        pointers=tuple(f"/messages/{index}/content" for index in range(len(roles))),
        roles=roles,
        trained=tuple(index for index, role in enumerate(roles) if role == "assistant"),
        labels=roles,
    )
    return _Shape(layout, TOKENS_PER_MESSAGE * len(roles) + TOKENS_PER_EXAMPLE, roles[0] == "system")
