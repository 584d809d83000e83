"""Lists every encrypted column of the database, and encrypts its values again after a rotation of the master key.

To rotate the master key: add the new key to TUNEGATE_OLD_MASTER_KEYS of every process; make it TUNEGATE_MASTER_KEY and
move the former one to TUNEGATE_OLD_MASTER_KEYS; run `tunegate keys reseal`; then remove the former one.
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
class SealedColumn:
    """A column of encrypted values, and the context that a row's value is encrypted for."""

    table: Any
    column: str
    context: Callable[[Any], str]


SEALED_COLUMNS = (
    SealedColumn(UpstreamAccount, "credential_sealed", lambda row: upstream_context(row.id)),
    SealedColumn(UpstreamAccount, "webhook_secret_sealed", lambda row: webhook_context_of(row.id)),
    SealedColumn(WebhookEndpoint, "secret_encrypted", lambda row: webhook_context(row.id)),
    SealedColumn(WebhookEndpoint, "old_secret_encrypted", lambda row: webhook_context(row.id)),
    SealedColumn(RememberedRequest, "response", lambda row: sealed_for(row.project_id, row.route)),
)


async def reseal(db: Database, sealer: Sealer) -> int:
    """Encrypt again every value that an old key encrypted. Returns the number of values.

    A value that changes at the same time is left: the current key encrypted it. Raises `DecryptionFailed` for a value
    that no key decrypts; values resealed before it stay so, and running it again continues.
    """
    return sum([await _reseal_column(db, sealer, sealed) for sealed in SEALED_COLUMNS])


async def _reseal_column(db: Database, sealer: Sealer, sealed: SealedColumn) -> int:
    column = getattr(sealed.table, sealed.column)
    after, done = "", 0
    while True:
        async with db.admin() as session:
            rows = (
                await session.scalars(
                    select(sealed.table)
                    .where(sealed.table.id > after, column.is_not(None))
                    .order_by(sealed.table.id)
                    .limit(BATCH)
                )
            ).all()
            for row in rows:
                old, context = getattr(row, sealed.column), sealed.context(row)
                if not is_sealed(old) or sealer.is_current(old, context=context):
                    continue
                fresh = sealer.seal(sealer.open(old, context=context), context=context)
                changed = await session.scalar(
                    update(sealed.table)
                    .where(sealed.table.id == row.id, column == old)
                    .values({sealed.column: fresh})
                    .returning(sealed.table.id)
                )
                done += changed is not None
        if not rows:
            return done
        after = rows[-1].id
