"""Finds out whom a key identifies, by its hash: cached for less than a second, and looked up together with others.

Keys that exist and keys that do not have caches of their own, so that made-up keys displace no good one; neither cache
outlasts the second within which a new key must work and a revoked one must stop.
"""

import datetime as dt
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, LargeBinary, any_, bindparam, func, select, text, update
from sqlalchemy.dialects.postgresql import ARRAY

from service.database.batched_lookups import BatchedLookups
from service.database.engine import Database
from service.database.tables import ApiKey, Project, ServiceAccount
from service.identity.callers import Administrator, Caller
from service.identity.refused_requests import Refused
from service.states import RefusalKind

CACHE_SECONDS = 0.5
"""Less than the second within which a revoked key must stop working (docs/organization.md)."""

LAST_USED_EVERY = dt.timedelta(minutes=1)
MAX_CACHED = 10_000
_WITHOUT_FLUSH = text("SET LOCAL synchronous_commit = off")


@dataclass(frozen=True, slots=True)
class KnownKey:
    """The caller that a key identifies, and the refusal if the key is not valid."""

    who: Caller | Administrator
    refused: Refused | None


def is_valid() -> ColumnElement[bool]:
    """The condition that a row of `api_keys` is neither revoked nor expired."""
    return ApiKey.revoked_at.is_(None) & (ApiKey.expires_at.is_(None) | (ApiKey.expires_at > func.now()))


class KeyLookup:
    """Looks up keys by their SHA-256. One per process."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._lookups = BatchedLookups(self._look_up)
        self._known: dict[bytes, tuple[float, KnownKey]] = {}
        self._unknown: dict[bytes, float] = {}

    async def find(self, sha256: bytes) -> KnownKey | None:
        """The key with this hash, or None if there is none."""
        now = time.monotonic()
        known = self._known.get(sha256)
        if known is not None and known[0] > now:
            return known[1]
        if self._unknown.get(sha256, 0.0) > now:
            return None
        found = await self._lookups.find(sha256)
        cache: dict[bytes, Any] = self._unknown if found is None else self._known
        if len(cache) >= MAX_CACHED:
            cache.clear()
        until = now + CACHE_SECONDS
        cache[sha256] = until if found is None else (until, found)
        return found

    async def _look_up(self, hashes: Sequence[bytes]) -> dict[bytes, KnownKey]:
        async with self._db.admin() as session:
            rows = (await session.execute(_KEYS, {"hashes": list(hashes)})).all()
            found: dict[bytes, KnownKey] = {row.sha256: _known_key(row) for row in rows}
            used = [row.id for row in rows if row.was_not_used_lately and found[row.sha256].refused is None]
            if used:
                # Look-ups wait neither for each other's rows nor for a disk: a mark that a crash loses is set again.
                await session.execute(_WITHOUT_FLUSH)
                unlocked = select(ApiKey.id).where(ApiKey.id.in_(used), _was_not_used_lately())
                await session.execute(
                    update(ApiKey)
                    .where(ApiKey.id.in_(unlocked.with_for_update(skip_locked=True).scalar_subquery()))
                    .values(last_used_at=func.now())
                    .execution_options(synchronize_session=False)
                )
        return found


def _was_not_used_lately() -> ColumnElement[bool]:
    return ApiKey.last_used_at.is_(None) | (ApiKey.last_used_at < func.now() - LAST_USED_EVERY)


_KEYS = (
    select(
        ApiKey.id,
        ApiKey.sha256,
        ApiKey.project_id,
        ApiKey.service_account_id,
        ApiKey.scopes,
        ApiKey.revoked_at.is_not(None).label("revoked"),
        is_valid().label("valid"),
        _was_not_used_lately().label("was_not_used_lately"),
        Project.status,
        ServiceAccount.role,
    )
    .outerjoin(Project, Project.id == ApiKey.project_id)
    .outerjoin(ServiceAccount, ServiceAccount.id == ApiKey.service_account_id)
    .where(ApiKey.sha256 == any_(bindparam("hashes", type_=ARRAY(LargeBinary))))
)


def _known_key(row: Any) -> KnownKey:
    who: Caller | Administrator = (
        Administrator(row.id, tuple(row.scopes))
        if row.project_id is None
        else Caller(row.id, row.project_id, row.service_account_id, tuple(row.scopes))
    )
    kind: RefusalKind | None = None
    if not row.valid:
        kind = "revoked_key" if row.revoked else "expired_key"
    elif row.project_id is not None and row.status != "active":
        kind = "archived_project"
    elif row.role == "none":
        kind = "no_role"
    return KnownKey(who, None if kind is None else refused_key(kind, who, row.sha256))


def refused_key(kind: RefusalKind, who: Caller | Administrator, sha256: bytes) -> Refused:
    """The refusal of a key that exists."""
    project = who if isinstance(who, Caller) else None
    return Refused(
        kind=kind,
        sha256=sha256,
        key_id=who.key_id,
        service_account_id=project.service_account_id if project else None,
        project_id=project.project_id if project else None,
    )
