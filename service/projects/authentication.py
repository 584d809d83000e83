"""Who is calling: the key in `Authorization`, looked up by its hash, remembered for less than a second."""

import datetime as dt
import time
from dataclasses import dataclass

from sqlalchemy import func, select, update

from service.db import Database
from service.errors import Forbidden, Unauthenticated
from service.projects.keys import fingerprint, well_formed
from service.tables import ApiKey, Project

REMEMBERED_SECONDS = 0.8
"""Below the second within which revoking a key must work (RELIABILITY, "Tenancy")."""

LAST_USED_EVERY = dt.timedelta(minutes=1)
MAX_REMEMBERED = 10_000


@dataclass(frozen=True, slots=True)
class Caller:
    """A project's caller."""

    key_id: str
    project_id: str


@dataclass(frozen=True, slots=True)
class Administrator:
    """A caller of the organisation's API."""

    key_id: str


class Authenticator:
    """Looks keys up. One per process."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._known: dict[bytes, tuple[float, Caller | Administrator]] = {}

    async def project_caller(self, authorization: str | None) -> Caller:
        """The project's caller, or `Unauthenticated`, or `Forbidden` for an admin key."""
        match await self._identify(authorization):
            case Caller() as caller:
                return caller
            case Administrator():
                raise Forbidden("This is an admin key. Project resources need a key of the project.")

    async def administrator(self, authorization: str | None) -> Administrator:
        """The organisation's caller, or `Unauthenticated`, or `Forbidden` for a project's key."""
        match await self._identify(authorization):
            case Administrator() as administrator:
                return administrator
            case Caller():
                raise Forbidden("This is a project's key. The organisation's resources need an admin key.")

    async def _identify(self, authorization: str | None) -> Caller | Administrator:
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
        known = self._known.get(sha256)
        if known is not None and known[0] > time.monotonic():
            return known[1]
        found = await self._look_up(sha256)
        if len(self._known) >= MAX_REMEMBERED:
            self._known.clear()
        self._known[sha256] = (time.monotonic() + REMEMBERED_SECONDS, found)
        return found

    async def _look_up(self, sha256: bytes) -> Caller | Administrator:
        async with self._db.admin() as session:
            row = (
                await session.execute(
                    select(ApiKey.id, ApiKey.kind, ApiKey.project_id, ApiKey.last_used_at, Project.status)
                    .outerjoin(Project, Project.id == ApiKey.project_id)
                    .where(
                        ApiKey.sha256 == sha256,
                        ApiKey.revoked_at.is_(None),
                        (ApiKey.expires_at.is_(None)) | (ApiKey.expires_at > func.now()),
                    )
                )
            ).one_or_none()
            if row is None or row.status == "archived":
                raise _incorrect()
            await session.execute(
                update(ApiKey)
                .where(
                    ApiKey.id == row.id,
                    (ApiKey.last_used_at.is_(None)) | (ApiKey.last_used_at < func.now() - LAST_USED_EVERY),
                )
                .values(last_used_at=func.now())
            )
        return Administrator(row.id) if row.kind == "admin" else Caller(row.id, row.project_id)


def _incorrect() -> Unauthenticated:
    return Unauthenticated("Incorrect API key provided. Check it, or ask the platform team for a new one.")
