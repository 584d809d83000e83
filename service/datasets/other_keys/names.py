"""Names of keys in one notation, and the names by which other tools call roles."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from service.datasets.parsing.formats import ROLES

_CAPITAL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_ROLE_ALIASES = {
    "human": "user", "prompter": "user", "customer": "user", "client": "user",
    "gpt": "assistant", "chatgpt": "assistant", "bot": "assistant", "chatbot": "assistant", "ai": "assistant",
    "model": "assistant", "agent": "assistant", "observation": "tool",
}  # fmt: skip


@lru_cache(maxsize=1_000)
def plain_name(key: str) -> str:
    """A key in lower case with underscores: `trainOnTurn` and `train-on-turn` are `train_on_turn`."""
    return _CAPITAL.sub("_", key.strip()).lower().replace("-", "_").replace(" ", "_")


def known_role(value: Any) -> str | None:
    """The role that a name stands for, such as user for `human`; None for an unknown name."""
    if not isinstance(value, str):
        return None
    name = value.strip().lower()
    return name if name in ROLES else _ROLE_ALIASES.get(name)
