"""Checks the signatures of upstreams' webhooks, with bounded cost: nobody who sends one has a key.

The accounts' secrets are looked up together (`service/database/batched_lookups.py`), so that a flood of bad signatures
uses two connections and a valid one waits for it some milliseconds. A valid one counts against its own account's limit,
and is stored in one of the places that accounts share fairly: an account's owner, who can sign as many as it likes,
reaches a limit of its own.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

from sqlalchemy import select

from service.database.batched_lookups import BatchedLookups
from service.database.encryption import DecryptionFailed, Sealer
from service.database.engine import Database
from service.database.tables import UpstreamAccount
from service.errors import RateLimited
from service.fair_places import FairPlaces, PlacesFull
from service.upstreams.inbound_webhooks import invalid_signature, verified, webhook_context_of

STORING = 4
"""Valid webhooks that a process stores at a time."""

MAX_WAITING = 1000
"""Valid webhooks of one account that wait for a place."""

RETRY_SECONDS = 5.0
MAX_ID = 64
"""Characters of an account's id. One that Postgres refuses would fail the query that it shares with others."""


class InboundChecks:
    """Checks signatures, and limits how many webhooks are stored at a time. One per process."""

    def __init__(self, db: Database, sealer: Sealer) -> None:
        self._db = db
        self._sealer = sealer
        self._secrets = BatchedLookups(self._look_up)
        self._places = FairPlaces(STORING, max_waiting=MAX_WAITING)

    async def check(self, account_id: str, signature: Mapping[str, str], body: bytes) -> None:
        """Check a webhook against its account's secret. Raises the same `Unauthenticated` whatever is wrong."""
        sealed = await self._secrets.find(account_id) if _well_formed(account_id) else None
        if sealed is None:
            raise invalid_signature()
        try:
            secret = self._sealer.open(sealed, context=webhook_context_of(account_id)).decode()
        except DecryptionFailed:
            raise invalid_signature() from None
        if not verified(secret, signature, body):
            raise invalid_signature()

    @asynccontextmanager
    async def place(self, account_id: str) -> AsyncIterator[None]:
        """A place for storing a valid webhook. Raises `RateLimited` if too many of the account wait for one."""
        try:
            async with self._places.occupy(account_id):
                yield
        except PlacesFull:
            raise RateLimited(
                f"More than {MAX_WAITING:,} webhooks of this upstream account wait. Send it again later.",
                retry_after_seconds=RETRY_SECONDS,
            ) from None

    async def _look_up(self, account_ids: Sequence[str]) -> dict[str, bytes]:
        async with self._db.worker() as session:
            rows = await session.execute(
                select(UpstreamAccount.id, UpstreamAccount.webhook_secret_sealed).where(
                    UpstreamAccount.id.in_(account_ids), UpstreamAccount.deleted_at.is_(None)
                )
            )
            return {row.id: row.webhook_secret_sealed for row in rows if row.webhook_secret_sealed is not None}


def _well_formed(account_id: str) -> bool:
    return len(account_id) <= MAX_ID and account_id.isascii() and account_id.isprintable()
