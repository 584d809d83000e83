"""Authenticates callers by their key, and enforces what it may do.

A key's form and checksum come first and cost nothing; `KeyLookup` finds its owner.
"""

import datetime as dt

from service.database.engine import Database
from service.errors import ApiError, Forbidden, Unauthenticated
from service.identity.audit import Actor
from service.identity.callers import Administrator, Caller, may
from service.identity.key_lookup import KeyLookup, refused_key
from service.identity.keys import fingerprint, well_formed
from service.identity.presented_keys import incorrect_key
from service.identity.refused_requests import Refusals, Refused
from service.states import RefusalKind

__all__ = ["Administrator", "Authenticator", "Caller"]


class Authenticator:
    """Looks up keys, enforces their scopes, and records refusals. One per process."""

    def __init__(self, db: Database) -> None:
        self._refusals = Refusals(db)
        self._keys = KeyLookup(db)

    async def project_caller(self, key: str, *, method: str, client: Actor) -> Caller:
        """Authenticate a project's caller.

        Raises `Unauthenticated`, and `Forbidden` for an admin key or a key whose scopes do not allow the method.
        """
        who, sha256 = await self._identify(key, client)
        if not isinstance(who, Caller):
            error = Forbidden("This is an admin key. Project resources need a project key.")
            raise await self._recorded(refused_key("wrong_kind_of_key", who, sha256), error, client)
        await self._check_scopes(who, sha256, method, client)
        return who

    async def administrator(self, key: str, *, method: str, client: Actor) -> Administrator:
        """Authenticate a caller of the organisation's API.

        Raises `Unauthenticated`, and `Forbidden` for a project key or a key whose scopes do not allow the method.
        """
        who, sha256 = await self._identify(key, client)
        if not isinstance(who, Administrator):
            error = Forbidden("This is a project key. The organisation's resources need an admin key.")
            raise await self._recorded(refused_key("wrong_kind_of_key", who, sha256), error, client)
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
            raise await self._recorded(refused_key("read_only_key", who, sha256), error, client)

    async def _identify(self, key: str, client: Actor) -> tuple[Caller | Administrator, bytes]:
        if not well_formed(key):
            raise incorrect_key(key)
        sha256 = fingerprint(key)
        known = await self._keys.find(sha256)
        if known is None:
            raise await self._recorded(Refused(kind="unknown_key", sha256=sha256), _incorrect(), client)
        if known.refused is not None:
            raise await self._recorded(known.refused, _error_for(known.refused.kind), client)
        return known.who, sha256

    async def _recorded(self, refused: Refused, error: ApiError, client: Actor) -> ApiError:
        await self._refusals.record(refused, error, client, now=dt.datetime.now(dt.UTC))
        return error


def _error_for(kind: RefusalKind) -> ApiError:
    if kind == "no_role":
        return Forbidden("The key's service account has the role 'none' in its project. Give it the role 'member'.")
    return _incorrect()


def _incorrect() -> Unauthenticated:
    return Unauthenticated("Incorrect API key provided. Check it, or ask the platform team for a new one.")
