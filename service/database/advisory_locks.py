"""The registry of advisory locks: what each one guards, and its number.

Postgres identifies an advisory lock by one 64-bit number in a database. A lock of a row or a project hashes its name
with its own seed (`hashtextextended(name, seed)`), so that locks of two purposes differ for the same name. A
transaction's lock ends with the transaction; a session's lock ends with the connection.
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

    def take_session(self) -> Select[Any]:
        """Wait for the lock; it is held until the database session ends."""
        return select(func.pg_advisory_lock(self.number))

    def try_session(self) -> Select[Any]:
        """Take the lock if it is free: true when this database session has it, which then holds it until it ends."""
        return select(func.pg_try_advisory_lock(self.number))


@dataclass(frozen=True, slots=True)
class NamedLock:
    """One lock for each name, such as a project's id; `prefix` and `seed` keep locks of different purposes apart."""

    seed: int
    prefix: str = ""

    def take(self, name: str) -> Select[Any]:
        """Wait for the lock of this name; it is held until the transaction ends."""
        return select(func.pg_advisory_xact_lock(self._number(name)))

    def share(self, name: str) -> Select[Any]:
        """Wait for the lock in shared mode, which excludes `take` only; it is held until the transaction ends."""
        return select(func.pg_advisory_xact_lock_shared(self._number(name)))

    def take_each(self, names: Select[str]) -> Select[Any]:
        """Wait for the locks of all names that the query returns, in its order.

        Every caller must use the same order, or two of them could deadlock.
        """
        each = names.subquery()
        return select(func.pg_advisory_xact_lock(self._hashed(each.c[0]))).select_from(each)

    def _number(self, name: str) -> Any:
        return self._hashed(literal(f"{self.prefix}{name}"))

    def _hashed(self, name: Any) -> Any:
        return func.hashtextextended(name, cast(self.seed, BigInteger))


@dataclass(frozen=True, slots=True)
class DigestLock:
    """One lock for each SHA-256 digest, whose first eight bytes are the number."""

    def take(self, digest: bytes) -> Select[Any]:
        """Wait for the lock of this digest; it is held until the transaction ends."""
        return select(func.pg_advisory_xact_lock(int.from_bytes(digest[:8], "big", signed=True)))


MIGRATIONS = SingleLock(7203684915)
"""Migrating the schema: several processes may start a migration at once, and one of them runs it (`alembic/env.py`)."""

MAINTENANCE_LEADER = SingleLock(7203684916)
"""Held by the worker that runs the periodic tasks (`workers/maintenance/leader.py`)."""

ADMIN_KEYS = SingleLock(7203684917)
"""Deleting an admin key: two concurrent deletions could leave no key."""

PROJECT_UPSTREAMS = NamedLock(0, "upstreams:")
"""A project's upstream accounts: counting them, then adding one."""

PROJECT_ALIASES = NamedLock(0, "model_aliases:")
"""A project's model aliases: creating, moving or deleting one, and actions that need them unchanged."""

PROJECT_ENDPOINTS = NamedLock(0, "webhook_endpoints:")
"""A project's webhook endpoints: counting them, then adding one; also recovering what one missed."""

EVENT_ORDER = NamedLock(0, "webhook_events:")
"""A project's events: writers share it, a reader that needs them in order takes it (`webhooks/outbox.py`)."""

PROJECT_QUEUE = NamedLock(1)
"""A project's queued jobs: counting them, then adding one."""

ACCOUNT_SLOTS = NamedLock(2)
"""An upstream account's slots: counting its active jobs, then scheduling one; also deleting the account."""

UNFINISHED_WORK = NamedLock(0, "unfinished_work:")
"""A project's unfinished work of one kind (`table:project`): counting it, then adding to it."""

PROJECT_UPLOADS = NamedLock(0, "open_uploads:")
"""A project's open uploads: counting them, then adding one."""

PROJECT_STORAGE = NamedLock(3)
"""A project's stored bytes: summing them up, then adding a file."""

TRAINING_TOKENS = NamedLock(4)
"""A project's training tokens of a month: summing them up, then reserving more."""

REMEMBERED_REQUESTS = DigestLock()
"""Equal creating requests: the first one runs, and the others wait for its response."""

REFUSALS = DigestLock()
"""Refused callers of one kind, subject and minute, who share one entry in the audit log."""
