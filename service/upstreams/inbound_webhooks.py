"""What an upstream tells by itself: a signed webhook makes the job that it names due now. Polling stays the safety net.

Signatures are those of Standard Webhooks, which OpenAI sends, checked by its library over the raw body with the secret
of the account. A webhook says only "look": nothing in it is taken as true, so a replay could do no more than cost a
look; its id is remembered all the same, for as long as its timestamp is good.
"""

import datetime as dt
from collections.abc import Mapping

import msgspec
from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from standardwebhooks import Webhook

from service.database.encryption import SealBroken, Sealer
from service.database.leased_work import JOBS, wake
from service.database.tables import Job, UpstreamAccount, UpstreamNotice
from service.errors import Unauthenticated

HEADERS = ("webhook-id", "webhook-timestamp", "webhook-signature")
MAX_HEADER = 1024
MAX_BODY_BYTES = 64 * 1024
TOLERANCE = dt.timedelta(minutes=5)
"""How far a timestamp may be from our clock, either way: the library's, as the specification recommends."""

REMEMBERED = 3 * TOLERANCE
"""Longer than a timestamp of the future can stay good."""


class _Subject(msgspec.Struct, frozen=True):
    id: str = ""


class _Event(msgspec.Struct, frozen=True):
    """What is read of an event; OpenAI's is `{"type": "fine_tuning.job.succeeded", "data": {"id": "ftjob-…"}}`."""

    data: _Subject = _Subject()


def seal_webhook_secret(sealer: Sealer, account_id: str, secret: str) -> bytes:
    """A secret as it is stored."""
    return sealer.seal(secret.encode(), context=webhook_context_of(account_id))


def webhook_context_of(account_id: str) -> str:
    """What a secret is sealed for."""
    return f"upstream_webhooks:{account_id}"


def presented(headers: Mapping[str, str]) -> dict[str, str]:
    """The three headers of a signature. Raises `Unauthenticated` for any that is missing or too long."""
    found = {name: headers.get(name, "") for name in HEADERS}
    for value in found.values():
        if not value.isascii() or "\0" in value or not 0 < len(value) <= MAX_HEADER:
            raise unverified()
    return found


def verified(secret: str, signature: Mapping[str, str], body: bytes) -> bool:
    """Whether a body is signed with the secret, and not long ago. Pure but for the clock, which is the library's."""
    try:
        Webhook(secret).verify(body, dict(signature), json_parse=False)
    except Exception:  # the library raises whatever base64, text and numbers raise on garbage
        return False
    return True


async def check(
    session: AsyncSession, sealer: Sealer, account_id: str, signature: Mapping[str, str], body: bytes
) -> None:
    """Check a webhook against its account. Raises `Unauthenticated`, the same for whatever is wrong."""
    sealed = await session.scalar(
        select(UpstreamAccount.webhook_secret_sealed).where(
            UpstreamAccount.id == account_id, UpstreamAccount.deleted_at.is_(None)
        )
    )
    if sealed is None:
        raise unverified()
    try:
        secret = sealer.open(sealed, context=webhook_context_of(account_id)).decode()
    except SealBroken:
        raise unverified() from None
    if not verified(secret, signature, body):
        raise unverified()


async def take_notice(session: AsyncSession, account_id: str, webhook_id: str, body: bytes) -> bool:
    """Make the job that a checked webhook names due now, once. Returns whether there was one to be rung."""
    fresh = await session.scalar(
        insert(UpstreamNotice)
        .values(account_id=account_id, webhook_id=webhook_id)
        .on_conflict_do_nothing()
        .returning(UpstreamNotice.webhook_id)
    )
    upstream_id = subject_of(body)
    if fresh is None or not upstream_id:
        return False
    job_id = await session.scalar(
        update(Job)
        .where(Job.account_id == account_id, Job.upstream_job_id == upstream_id, Job.state == "running")
        .values(due_at=func.clock_timestamp())
        .returning(Job.id)
        .execution_options(synchronize_session=False)
    )
    if job_id is not None:
        wake(session, JOBS, job_id, webhook_id)
    return job_id is not None


def subject_of(body: bytes) -> str | None:
    """The id of what an event is about; None for one that cannot be read or names nothing that we could know."""
    try:
        found = msgspec.json.decode(body, type=_Event).data.id
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return found if found and "\0" not in found else None


def unverified() -> Unauthenticated:
    """The one refusal: it tells neither what is wrong nor whether there is such an account."""
    return Unauthenticated("The webhook's signature could not be verified.", code="invalid_signature")
