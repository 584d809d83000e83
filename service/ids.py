"""Identifiers: a prefix that names the kind, then a ULID, so that ids of one kind sort by creation time.

Lower-case Crockford base32 sorts the same under every collation, and ids that one process creates within a millisecond
keep their order (ULID specification, "monotonicity").
"""

from ulid import ULID


def new_id(prefix: str) -> str:
    """A new id: `new_id("ftjob-")` → `ftjob-01k…` (26 characters after the prefix)."""
    return f"{prefix}{str(ULID()).lower()}"
