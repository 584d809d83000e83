"""Reads which base models each self-hosted upstream lists, so that jobs and calls go only where their model is.

An upstream that does not answer keeps its last list, until that is too old (`LISTED_FOR`).
"""

import asyncio
from collections.abc import Collection

import structlog
from sqlalchemy import func, update

from service.database.tables import UpstreamAccount
from service.upstreams.accounts import AccountUnusable
from service.upstreams.capabilities import provider_at
from service.upstreams.port import UpstreamError
from service.upstreams.queries import live_accounts
from workers.context import Context

log = structlog.get_logger()

SELF_HOSTED = "self-hosted"
ACCOUNT_TIMEOUT_SECONDS = 30.0


async def read_listed_models(ctx: Context) -> int:
    """Read the lists of all self-hosted accounts, which do not delay one another. Returns how many have one."""
    async with ctx.db.worker() as session:
        ids = [account.id for account in await live_accounts(session) if provider_at(account) == SELF_HOSTED]
    return sum(await asyncio.gather(*(_at_account(ctx, account_id) for account_id in ids)))


async def _at_account(ctx: Context, account_id: str) -> int:
    try:
        async with asyncio.timeout(ACCOUNT_TIMEOUT_SECONDS):
            listed = await (await ctx.accounts.get(account_id)).base_models()
    except (UpstreamError, AccountUnusable, TimeoutError) as error:
        log.info("models.not_listed", account=account_id, error=str(error))
        return 0
    known = None if listed is None else _known(ctx.catalogue.names(), listed)
    async with ctx.db.worker() as session:
        await session.execute(
            update(UpstreamAccount)
            .where(UpstreamAccount.id == account_id)
            .values(listed_models=known, models_listed_at=None if known is None else func.now())
        )
    return int(known is not None)


def _known(names: Collection[str], listed: Collection[str]) -> list[str] | None:
    """The names of the catalogue that an upstream lists; None for none, as some servers list tuned models only."""
    return sorted(set(names).intersection(listed)) or None
