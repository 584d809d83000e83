"""Every advisory lock, in one list: what each one guards, and its number.

Postgres knows locks by one 64-bit number in a database. A lock of a row or a project hashes its name with a seed of its
own (`hashtextextended(name, seed)`), so that locks of two purposes differ for the same name. A transaction's lock ends
with the transaction; a session's lock ends with the connection.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import BigInteger, Select, cast, func, literal, select


@dataclass(frozen=True, slots=True)
class SingleLock:
    """A lock of the whole gateway."""

    number: int

    def take(self) -> Select[Any]:
        """Wait for the lock; it is held until the transaction ends."""
        return select(func.pg_advisory_xact_lock(self.number))

    def try_session(self) -> Select[Any]:
        """Whether this database session has the lock now; it is held until the session ends."""
        return select(func.pg_try_advisory_lock(self.number))


@dataclass(frozen=True, slots=True)
class NamedLock:
    """A lock for each name, as of a project; `prefix` and `seed` keep purposes apart."""

    seed: int
    prefix: str = ""

    def take(self, name: str) -> Select[Any]:
        """Wait for the lock of this name; it is held until the transaction ends."""
        return select(func.pg_advisory_xact_lock(self._number(name)))

    def share(self, name: str) -> Select[Any]:
        """Wait for a shared hold of the lock, which excludes `take` only; it is held until the transaction ends."""
        return select(func.pg_advisory_xact_lock_shared(self._number(name)))

    def take_each(self, names: Select[str]) -> Select[Any]:
        """Wait for the locks of all names that the query gives, in its order; none may be taken in another order."""
        each = names.subquery()
        return select(func.pg_advisory_xact_lock(self._hashed(each.c[0]))).select_from(each)

    def _number(self, name: str) -> Any:
        return self._hashed(literal(f"{self.prefix}{name}"))

    def _hashed(self, name: Any) -> Any:
        return func.hashtextextended(name, cast(self.seed, BigInteger))


@dataclass(frozen=True, slots=True)
class DigestLock:
    """A lock for each SHA-256 digest; its first eight bytes are the number."""

    def take(self, digest: bytes) -> Select[Any]:
        """Wait for the lock of this digest; it is held until the transaction ends."""
        return select(func.pg_advisory_xact_lock(int.from_bytes(digest[:8], "big", signed=True)))


MAINTENANCE_LEADER = SingleLock(7203684916)
"""Held by the worker that runs the periodic tasks (`workers/maintenance/leader.py`)."""

ADMIN_KEYS = SingleLock(7203684917)
"""Deleting an admin key: two deletions at a time could leave no key."""

PROJECT_UPSTREAMS = NamedLock(0, "upstreams:")
"""A project's upstream accounts: counting them, then adding one."""

PROJECT_ALIASES = NamedLock(0, "model_aliases:")
"""A project's model aliases: making, moving, deleting one, and what needs them as they are."""

PROJECT_ENDPOINTS = NamedLock(0, "webhook_endpoints:")
"""A project's webhook endpoints: counting them, then adding one."""

EVENT_ORDER = NamedLock(0, "webhook_events:")
"""A project's events: shared by those who write them, taken by those who read them in order (`webhooks/outbox.py`)."""

PROJECT_QUEUE = NamedLock(1)
"""A project's queued jobs: counting them, then adding one."""

ACCOUNT_SLOTS = NamedLock(2)
"""An upstream account's slots: counting its active jobs, then scheduling one; also deleting the account."""

PROJECT_STORAGE = NamedLock(3)
"""A project's stored bytes: adding them up, then adding a file."""

TRAINING_TOKENS = NamedLock(4)
"""A project's training tokens of a month: adding them up, then reserving some."""

REMEMBERED_REQUESTS = DigestLock()
"""Creating requests that are the same: the first one works, the others wait for its answer."""

REFUSALS = DigestLock()
"""Refused callers of one kind, subject and minute: one entry in the audit log."""
