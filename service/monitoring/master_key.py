"""Whether the master key opens the stored secrets: with another one, webhooks and accounts would fail one by one."""

from collections.abc import Callable
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from service.database.encryption import DecryptionFailed, Sealer
from service.database.tables import UpstreamAccount, WebhookEndpoint
from service.upstreams.credentials import context_of as upstream_context
from service.webhooks.secrets import context_of as webhook_context

SAMPLE = 5
"""The oldest secrets of each kind are tried: younger ones may have been stored under the wrong key already."""


async def master_key_problem(session: AsyncSession, sealer: Sealer) -> str | None:
    """Why the stored secrets cannot be read, or None if one of them opens or there is none. Reads a few rows by key."""
    secrets = [
        *await _oldest(session, UpstreamAccount.id, UpstreamAccount.credential_sealed, upstream_context),
        *await _oldest(session, WebhookEndpoint.id, WebhookEndpoint.secret_encrypted, webhook_context),
    ]
    if not secrets or any(_opens(sealer, sealed, context) for sealed, context in secrets):
        return None
    return (
        "TUNEGATE_MASTER_KEY opens none of the stored secrets: they were stored under another. Set that one, or add "
        "it to TUNEGATE_OLD_MASTER_KEYS"
    )


async def _oldest(
    session: AsyncSession, id_: Any, sealed: Any, context: Callable[[str], str]
) -> list[tuple[bytes, str]]:
    rows = await session.execute(select(id_, sealed).where(sealed.is_not(None)).order_by(id_).limit(SAMPLE))
    return [(value, context(row_id)) for row_id, value in rows]


def _opens(sealer: Sealer, sealed: bytes, context: str) -> bool:
    try:
        sealer.open(sealed, context=context)
    except DecryptionFailed:
        return False
    return True
