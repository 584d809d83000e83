"""What a refusal that is not the job's fault means for its account: hold it, tell why, and come back later."""

import datetime as dt
from dataclasses import dataclass

import structlog
from prometheus_client import Counter
from sqlalchemy import func, update

from service.database.tables import UpstreamAccount
from service.upstreams.port import Refused
from workers.context import AccountContext

log = structlog.get_logger()

HELD = Counter("tunegate_upstream_holds_total", "Times that an upstream account was held.", ["account", "kind"])

HOLD_SECONDS = {"auth": 300.0, "quota": 300.0}
RATE_LIMIT_SECONDS = 10.0
MIN_SECONDS = 1.0
"""Whatever `Retry-After` says, nothing is asked again at once."""


@dataclass(frozen=True, slots=True)
class CoolDown:
    """Why work waits, and for how long."""

    reason: str
    seconds: float


async def after_refusal(ctx: AccountContext, refused: Refused) -> CoolDown:
    """A rate limit only delays; a refused credential or an empty account holds the account, so no job burns for it."""
    if refused.kind == "rate_limit":
        return CoolDown(
            "The upstream limits our rate.", max(refused.retry_after_seconds or RATE_LIMIT_SECONDS, MIN_SECONDS)
        )
    seconds = max(refused.retry_after_seconds or HOLD_SECONDS.get(refused.kind, RATE_LIMIT_SECONDS), MIN_SECONDS)
    reason = {"auth": "the upstream refuses our credential", "quota": "the upstream account is out of quota"}.get(
        refused.kind, refused.kind
    )
    async with ctx.db.worker() as session:
        await session.execute(
            update(UpstreamAccount)
            .where(UpstreamAccount.id == ctx.upstream.account_id)
            .values(cool_down_until=func.now() + dt.timedelta(seconds=seconds), cool_down_reason=reason)
        )
    HELD.labels(ctx.upstream.account_id, refused.kind).inc()
    log.error("upstream.held", account=ctx.upstream.account_id, kind=refused.kind, seconds=seconds)
    return CoolDown(f"Waiting, since {reason}.", seconds)
