"""Identifiers: a prefix that names the kind, then a ULID, so that ids of one kind sort by the time they were made.

Lower case Crockford base32 sorts alike under every collation, and two ids made by one process within a millisecond
keep their order (ULID specification, "monotonicity").
"""

from ulid import ULID


def new_id(prefix: str) -> str:
    """A fresh id: `new_id("ftjob-")` → `ftjob-01k…` (26 characters behind the prefix)."""
    return f"{prefix}{str(ULID()).lower()}"
