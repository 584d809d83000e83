"""Authenticates callers by the key in `Authorization`: looked up by its hash and cached for less than a second."""

import datetime as dt
import time
from dataclasses import dataclass

from sqlalchemy import ColumnElement, func, select, update

from service.database.engine import Database
from service.database.tables import ApiKey, Project, ServiceAccount
from service.errors import ApiError, Forbidden, Unauthenticated
from service.identity.audit import Actor
from service.identity.callers import Administrator, Caller, may
from service.identity.keys import fingerprint, well_formed
from service.identity.refused_requests import Refusals, Refused
from service.states import RefusalKind

__all__ = ["Administrator", "Authenticator", "Caller", "is_valid"]

CACHE_SECONDS = 0.5
"""Less than the second within which a revoked key must stop working (docs/organization.md)."""

LAST_USED_EVERY = dt.timedelta(minutes=1)
MAX_CACHED = 10_000


@dataclass(frozen=True, slots=True)
class _CachedKey:
    """The caller that a key identifies, and the refusal if the key is not valid."""

    who: Caller | Administrator
    refused: Refused | None


def is_valid() -> ColumnElement[bool]:
    """The condition that a row of `api_keys` is neither revoked nor expired."""
    return ApiKey.revoked_at.is_(None) & (ApiKey.expires_at.is_(None) | (ApiKey.expires_at > func.now()))


class Authenticator:
    """Looks up keys, enforces their scopes, and records refusals. One per process."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._refusals = Refusals(db)
        self._cache: dict[bytes, tuple[float, _CachedKey]] = {}

    async def project_caller(self, authorization: str | None, *, method: str, client: Actor) -> Caller:
        """Authenticate a project's caller.

        Raises `Unauthenticated`, and `Forbidden` for an admin key or a key whose scopes do not allow the method.
        """
        who, sha256 = await self._identify(authorization, client)
        if not isinstance(who, Caller):
            error = Forbidden("This is an admin key. Project resources need a project key.")
            raise await self._recorded(_refused("wrong_kind_of_key", who, sha256), error, client)
        await self._check_scopes(who, sha256, method, client)
        return who

    async def administrator(self, authorization: str | None, *, method: str, client: Actor) -> Administrator:
        """Authenticate a caller of the organisation's API.

        Raises `Unauthenticated`, and `Forbidden` for a project key or a key whose scopes do not allow the method.
        """
        who, sha256 = await self._identify(authorization, client)
        if not isinstance(who, Administrator):
            error = Forbidden("This is a project key. The organisation's resources need an admin key.")
            raise await self._recorded(_refused("wrong_kind_of_key", who, sha256), error, client)
        await self._check_scopes(who, sha256, method, client)
        return who

    async def close(self) -> None:
        """Write the refusals that are not written yet."""
        await self._refusals.close()

    async def _check_scopes(self, who: Caller | Administrator, sha256: bytes, method: str, client: Actor) -> None:
        if not may(who, method):
            error = Forbidden(
                f"This key is read-only (its scopes are {', '.join(who.scopes)}) and {method} needs a key that may "
                "write. Use a key without scopes, or have this one's scopes removed."
            )
            raise await self._recorded(_refused("read_only_key", who, sha256), error, client)

    async def _identify(self, authorization: str | None, client: Actor) -> tuple[Caller | Administrator, bytes]:
        scheme, _, key = (authorization or "").partition(" ")
        key = key.strip()
        if scheme.lower() != "bearer" or not key:
            raise Unauthenticated(
                "You didn't provide an API key. Send it as `Authorization: Bearer YOUR_KEY`, "
                "or set OPENAI_API_KEY for the SDK.",
                code="missing_api_key",
            )
        if not well_formed(key):
            raise _incorrect()
        sha256 = fingerprint(key)
        known = self._cached(sha256)
        if known is None:
            started_at = time.monotonic()
            known = await self._look_up(sha256)
            if known is None:
                raise await self._recorded(Refused(kind="unknown_key", sha256=sha256), _incorrect(), client)
            if len(self._cache) >= MAX_CACHED:
                self._cache.clear()
            self._cache[sha256] = (started_at + CACHE_SECONDS, known)
        if known.refused is not None:
            raise await self._recorded(known.refused, _error_for(known.refused.kind), client)
        return known.who, sha256

    def _cached(self, sha256: bytes) -> _CachedKey | None:
        known = self._cache.get(sha256)
        return known[1] if known is not None and known[0] > time.monotonic() else None

    async def _look_up(self, sha256: bytes) -> _CachedKey | None:
        async with self._db.admin() as session:
            row = (
                await session.execute(
                    select(
                        ApiKey.id,
                        ApiKey.project_id,
                        ApiKey.service_account_id,
                        ApiKey.scopes,
                        ApiKey.revoked_at.is_not(None).label("revoked"),
                        is_valid().label("valid"),
                        Project.status,
                        ServiceAccount.role,
                    )
                    .outerjoin(Project, Project.id == ApiKey.project_id)
                    .outerjoin(ServiceAccount, ServiceAccount.id == ApiKey.service_account_id)
                    .where(ApiKey.sha256 == sha256)
                )
            ).one_or_none()
            if row is None:
                return None
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
            if kind is not None:
                return _CachedKey(who, _refused(kind, who, sha256))
            await session.execute(
                update(ApiKey)
                .where(
                    ApiKey.id == row.id,
                    (ApiKey.last_used_at.is_(None)) | (ApiKey.last_used_at < func.now() - LAST_USED_EVERY),
                )
                .values(last_used_at=func.now())
            )
        return _CachedKey(who, None)

    async def _recorded(self, refused: Refused, error: ApiError, client: Actor) -> ApiError:
        await self._refusals.record(refused, error, client, now=dt.datetime.now(dt.UTC))
        return error


def _refused(kind: RefusalKind, who: Caller | Administrator, sha256: bytes) -> Refused:
    project = who if isinstance(who, Caller) else None
    return Refused(
        kind=kind,
        sha256=sha256,
        key_id=who.key_id,
        service_account_id=project.service_account_id if project else None,
        project_id=project.project_id if project else None,
    )


def _error_for(kind: RefusalKind) -> ApiError:
    if kind == "no_role":
        return Forbidden("The key's service account has the role 'none' in its project. Give it the role 'member'.")
    return _incorrect()


def _incorrect() -> Unauthenticated:
    return Unauthenticated("Incorrect API key provided. Check it, or ask the platform team for a new one.")
