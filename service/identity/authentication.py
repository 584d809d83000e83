"""Who is calling: the key in `Authorization`, looked up by its hash, remembered for less than a second."""

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

__all__ = ["Administrator", "Authenticator", "Caller", "works"]

REMEMBERED_SECONDS = 0.5
"""Below the second within which revoking a key must work (RELIABILITY, "Tenancy")."""

LAST_USED_EVERY = dt.timedelta(minutes=1)
MAX_REMEMBERED = 10_000


@dataclass(frozen=True, slots=True)
class _Known:
    """What a key opens, and why it is refused if it is."""

    who: Caller | Administrator
    refused: Refused | None


def works() -> ColumnElement[bool]:
    """The condition under which a row of `api_keys` is neither revoked nor expired."""
    return ApiKey.revoked_at.is_(None) & (ApiKey.expires_at.is_(None) | (ApiKey.expires_at > func.now()))


class Authenticator:
    """Looks keys up, holds them to their scopes, and notes refusals. One per process."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._refusals = Refusals(db)
        self._known: dict[bytes, tuple[float, _Known]] = {}

    async def project_caller(self, authorization: str | None, *, method: str, client: Actor) -> Caller:
        """The project's caller. Raises `Unauthenticated`, or `Forbidden` for an admin key or one without the right."""
        who, sha256 = await self._identify(authorization, client)
        if not isinstance(who, Caller):
            error = Forbidden("This is an admin key. Project resources need a key of the project.")
            raise await self._noted(_refused("wrong_kind_of_key", who, sha256), error, client)
        await self._check_scopes(who, sha256, method, client)
        return who

    async def administrator(self, authorization: str | None, *, method: str, client: Actor) -> Administrator:
        """The organisation's caller. Raises `Unauthenticated`, or `Forbidden` as for a project's caller."""
        who, sha256 = await self._identify(authorization, client)
        if not isinstance(who, Administrator):
            error = Forbidden("This is a project's key. The organisation's resources need an admin key.")
            raise await self._noted(_refused("wrong_kind_of_key", who, sha256), error, client)
        await self._check_scopes(who, sha256, method, client)
        return who

    async def close(self) -> None:
        """Write what was noted."""
        await self._refusals.close()

    async def _check_scopes(self, who: Caller | Administrator, sha256: bytes, method: str, client: Actor) -> None:
        if not may(who, method):
            error = Forbidden(
                f"This key is read-only (its scopes are {', '.join(who.scopes)}) and {method} needs a key that may "
                "write. Use a key without scopes, or have this one's scopes removed."
            )
            raise await self._noted(_refused("read_only_key", who, sha256), error, client)

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
        known = self._remembered(sha256)
        if known is None:
            asked_at = time.monotonic()
            known = await self._look_up(sha256)
            if known is None:
                raise await self._noted(Refused(kind="unknown_key", sha256=sha256), _incorrect(), client)
            if len(self._known) >= MAX_REMEMBERED:
                self._known.clear()
            self._known[sha256] = (asked_at + REMEMBERED_SECONDS, known)
        if known.refused is not None:
            raise await self._noted(known.refused, _error_for(known.refused.kind), client)
        return known.who, sha256

    def _remembered(self, sha256: bytes) -> _Known | None:
        known = self._known.get(sha256)
        return known[1] if known is not None and known[0] > time.monotonic() else None

    async def _look_up(self, sha256: bytes) -> _Known | None:
        async with self._db.admin() as session:
            row = (
                await session.execute(
                    select(
                        ApiKey.id,
                        ApiKey.project_id,
                        ApiKey.service_account_id,
                        ApiKey.scopes,
                        ApiKey.revoked_at.is_not(None).label("revoked"),
                        works().label("works"),
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
            if not row.works:
                kind = "revoked_key" if row.revoked else "expired_key"
            elif row.project_id is not None and row.status != "active":
                kind = "archived_project"
            elif row.role == "none":
                kind = "no_role"
            if kind is not None:
                return _Known(who, _refused(kind, who, sha256))
            await session.execute(
                update(ApiKey)
                .where(
                    ApiKey.id == row.id,
                    (ApiKey.last_used_at.is_(None)) | (ApiKey.last_used_at < func.now() - LAST_USED_EVERY),
                )
                .values(last_used_at=func.now())
            )
        return _Known(who, None)

    async def _noted(self, refused: Refused, error: ApiError, client: Actor) -> ApiError:
        await self._refusals.note(refused, error, client, now=dt.datetime.now(dt.UTC))
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
