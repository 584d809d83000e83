"""Everything that is sealed in the database, in one list: what opens it, and how it is sealed anew after a rotation.

A rotation of the master key: give every process the new key among TUNEGATE_OLD_MASTER_KEYS; then make it
TUNEGATE_MASTER_KEY and the old one an old one; run `tunegate keys reseal`; then forget the old one.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select, update

from service.database.encryption import Sealer, is_sealed
from service.database.engine import Database
from service.database.tables import RememberedRequest, UpstreamAccount, WebhookEndpoint
from service.http.idempotency import sealed_for
from service.upstreams.credentials import context_of as upstream_context
from service.upstreams.inbound_webhooks import webhook_context_of
from service.webhooks.secrets import context_of as webhook_context

BATCH = 200


@dataclass(frozen=True, slots=True)
class Sealed:
    """A column of sealed values, and what a row's value is sealed for."""

    table: Any
    column: str
    context: Callable[[Any], str]


PLACES = (
    Sealed(UpstreamAccount, "credential_sealed", lambda row: upstream_context(row.id)),
    Sealed(UpstreamAccount, "webhook_secret_sealed", lambda row: webhook_context_of(row.id)),
    Sealed(WebhookEndpoint, "secret_encrypted", lambda row: webhook_context(row.id)),
    Sealed(WebhookEndpoint, "old_secret_encrypted", lambda row: webhook_context(row.id)),
    Sealed(RememberedRequest, "response", lambda row: sealed_for(row.project_id, row.route)),
)


async def reseal(db: Database, sealer: Sealer) -> int:
    """Seal anew whatever is sealed under an old key. Returns how many values were.

    A value that changes meanwhile is left as it is: it has been sealed under the key of now. Raises `SealBroken` for a
    value that no key opens; what was done until then stays done, and running it again goes on.
    """
    return sum([await _reseal_one(db, sealer, place) for place in PLACES])


async def _reseal_one(db: Database, sealer: Sealer, place: Sealed) -> int:
    column = getattr(place.table, place.column)
    after, done = "", 0
    while True:
        async with db.admin() as session:
            rows = (
                await session.scalars(
                    select(place.table)
                    .where(place.table.id > after, column.is_not(None))
                    .order_by(place.table.id)
                    .limit(BATCH)
                )
            ).all()
            for row in rows:
                old, context = getattr(row, place.column), place.context(row)
                if not is_sealed(old) or sealer.is_current(old, context=context):
                    continue
                fresh = sealer.seal(sealer.open(old, context=context), context=context)
                changed = await session.scalar(
                    update(place.table)
                    .where(place.table.id == row.id, column == old)
                    .values({place.column: fresh})
                    .returning(place.table.id)
                )
                done += changed is not None
        if not rows:
            return done
        after = rows[-1].id
