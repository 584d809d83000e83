"""Replaces the upstream's ids and names in messages by ours, so that none reaches a caller. Pure."""

import re
from collections.abc import Mapping

FOREIGN_ID = re.compile(r"\b(?:(?:file|ftjob|ftckpt)-[A-Za-z0-9_-]{4,}|ft-[0-9a-f]{32}\b)")
HIDDEN = "(upstream id)"


def translated(message: str, names: Mapping[str, str]) -> str:
    """`message` with every known upstream name replaced by ours, and unknown upstream ids hidden."""
    for theirs in sorted(names, key=len, reverse=True):
        message = message.replace(theirs, names[theirs])
    ours = set(names.values())
    return FOREIGN_ID.sub(lambda found: found.group() if found.group() in ours else HIDDEN, message)
