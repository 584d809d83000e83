"""Cools an account down after a refusal that the job did not cause: no new work is sent to it for a while."""

import datetime as dt
from dataclasses import dataclass

import structlog
from prometheus_client import Counter
from sqlalchemy import func, update

from service.database.tables import UpstreamAccount
from service.upstreams.port import Refused
from workers.context import AccountContext

log = structlog.get_logger()

COOL_DOWNS = Counter("tunegate_upstream_cool_downs_total", "Cool-downs of upstream accounts.", ["account", "kind"])

COOL_DOWN_SECONDS = {"auth": 300.0, "quota": 300.0}
RATE_LIMIT_SECONDS = 10.0
MIN_SECONDS = 1.0
"""The shortest pause, even if `Retry-After` asks for less."""


@dataclass(frozen=True, slots=True)
class CoolDown:
    """Why work waits, and for how many seconds."""

    reason: str
    seconds: float


async def after_refusal(ctx: AccountContext, refused: Refused) -> CoolDown:
    """The pause that a refusal requires.

    A rate limit delays this step only. A refused credential or an exhausted quota cools the whole account down, so that
    no job fails for it.
    """
    if refused.kind == "rate_limit":
        return CoolDown(
            "The upstream limits the rate of requests.",
            max(refused.retry_after_seconds or RATE_LIMIT_SECONDS, MIN_SECONDS),
        )
    seconds = max(refused.retry_after_seconds or COOL_DOWN_SECONDS.get(refused.kind, RATE_LIMIT_SECONDS), MIN_SECONDS)
    reason = {"auth": "the upstream refuses our credential", "quota": "the upstream account is out of quota"}.get(
        refused.kind, refused.kind
    )
    async with ctx.db.worker() as session:
        await session.execute(
            update(UpstreamAccount)
            .where(UpstreamAccount.id == ctx.upstream.account_id)
            .values(cool_down_until=func.now() + dt.timedelta(seconds=seconds), cool_down_reason=reason)
        )
    COOL_DOWNS.labels(ctx.upstream.account_id, refused.kind).inc()
    log.error("account.cooled_down", account=ctx.upstream.account_id, kind=refused.kind, seconds=seconds)
    return CoolDown(f"Waiting, since {reason}.", seconds)
