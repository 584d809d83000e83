"""Webhooks that upstreams send: a signed one makes the job that it names due now. Polling continues regardless.

Signatures follow Standard Webhooks, which OpenAI uses; its library checks them over the raw body with the account's
secret. A webhook only causes a poll and nothing in it is trusted, so a replay could cost no more than one poll. Its id
is stored all the same, for as long as its timestamp can be valid.
"""

import datetime as dt
from collections.abc import Mapping

import msgspec
from sqlalchemy import func, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from standardwebhooks import Webhook

from service.database.encryption import Sealer
from service.database.leased_work import JOBS, wake
from service.database.tables import Job, UpstreamWebhook
from service.errors import Unauthenticated

HEADERS = ("webhook-id", "webhook-timestamp", "webhook-signature")
MAX_HEADER = 1024
MAX_BODY_BYTES = 64 * 1024
TOLERANCE = dt.timedelta(minutes=5)
"""How far a timestamp may be before or after the local clock: the library's limit, as the specification recommends."""

REPLAY_WINDOW = 3 * TOLERANCE
"""How long ids are stored: longer than a timestamp in the future can stay valid."""


class _Subject(msgspec.Struct, frozen=True):
    id: str = ""


class _Event(msgspec.Struct, frozen=True):
    """The part of an event that is read, in OpenAI's `{"type": "fine_tuning.job.succeeded", "data": {"id": …}}`."""

    data: _Subject = _Subject()


def seal_webhook_secret(sealer: Sealer, account_id: str, secret: str) -> bytes:
    """The encrypted secret, as it is stored."""
    return sealer.seal(secret.encode(), context=webhook_context_of(account_id))


def webhook_context_of(account_id: str) -> str:
    """The encryption context of an account's webhook secret."""
    return f"upstream_webhooks:{account_id}"


def signature_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """The three signature headers. Raises `Unauthenticated` when one is missing or too long."""
    found = {name: headers.get(name, "") for name in HEADERS}
    for value in found.values():
        if not value.isascii() or "\0" in value or not 0 < len(value) <= MAX_HEADER:
            raise invalid_signature()
    return found


def verified(secret: str, signature: Mapping[str, str], body: bytes) -> bool:
    """Whether a body has a valid and recent signature by the secret. Pure except for the library's clock."""
    try:
        Webhook(secret).verify(body, dict(signature), json_parse=False)
    except Exception:  # malformed headers make the library raise many kinds of errors
        return False
    return True


async def accept_webhook(session: AsyncSession, account_id: str, webhook_id: str, body: bytes) -> bool:
    """Make the job that a verified webhook names due now, once. Returns whether a running job was found."""
    first_time = await session.scalar(
        insert(UpstreamWebhook)
        .values(account_id=account_id, webhook_id=webhook_id)
        .on_conflict_do_nothing()
        .returning(UpstreamWebhook.webhook_id)
    )
    upstream_id = subject_of(body)
    if first_time is None or not upstream_id:
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
    """The id of the job that an event is about; None for an event that cannot be parsed or has no usable id."""
    try:
        upstream_id = msgspec.json.decode(body, type=_Event).data.id
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return upstream_id if upstream_id and "\0" not in upstream_id else None


def invalid_signature() -> Unauthenticated:
    """The only refusal: it reveals neither what is wrong nor whether the account exists."""
    return Unauthenticated("The webhook's signature could not be verified.", code="invalid_signature")
