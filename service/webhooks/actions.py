"""Creates and changes webhook endpoints, and sends deliveries again. Each action runs in its caller's transaction."""

import datetime as dt
from collections.abc import Iterable

from msgspec import UNSET
from sqlalchemy import exists, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from service.database.advisory_locks import PROJECT_ENDPOINTS
from service.database.encryption import Sealer
from service.database.leased_work import DELIVERIES, wake
from service.database.tables import WebhookDelivery, WebhookEndpoint, WebhookEvent
from service.errors import Conflict, InvalidRequest
from service.ids import new_id
from service.webhooks import outbox
from service.webhooks.event_types import CATALOGUE, EVENT_TYPES, sample_body
from service.webhooks.outcomes import Unreachable
from service.webhooks.queries import get_delivery, get_endpoint, get_event
from service.webhooks.schemas import CreateEndpoint, TestResult, UpdateEndpoint
from service.webhooks.secrets import active_secrets, seal_secret
from service.webhooks.sender import Sender
from service.webhooks.signing import new_secret, secret_hint, signed_headers

MAX_ENDPOINTS = 50
"""The largest number of endpoints of one project."""

MAX_RECOVERED = 5000
"""The largest number of deliveries that one call of `recover` makes pending."""

OLD_SECRET_LIFETIME = dt.timedelta(hours=24)


async def create_endpoint(
    session: AsyncSession, sealer: Sealer, project_id: str, request: CreateEndpoint
) -> tuple[WebhookEndpoint, str]:
    """Create an endpoint; returns it with its secret, which cannot be read again. The caller has checked the URL.

    Raises `InvalidRequest` for unknown event types and above the limit of endpoints.
    """
    event_types = check_types(request.event_types)
    await session.execute(PROJECT_ENDPOINTS.take(project_id))
    count = await session.scalar(
        select(func.count()).where(WebhookEndpoint.project_id == project_id, WebhookEndpoint.deleted_at.is_(None))
    )
    if (count or 0) >= MAX_ENDPOINTS:
        raise InvalidRequest(
            f"A project has at most {MAX_ENDPOINTS} webhook endpoints. Delete one that is not needed.",
            code="too_many_webhook_endpoints",
        )
    endpoint_id, secret = new_id("we_"), new_secret()
    row = WebhookEndpoint(
        id=endpoint_id,
        project_id=project_id,
        name=request.name,
        url=request.url,
        event_types=event_types,
        secret_encrypted=seal_secret(sealer, endpoint_id, secret),
        secret_hint=secret_hint(secret),
    )
    session.add(row)
    await session.flush()
    await session.refresh(row)
    return row, secret


async def update_endpoint(
    session: AsyncSession, project_id: str, endpoint_id: str, request: UpdateEndpoint
) -> WebhookEndpoint:
    """Change an endpoint, and enable it again if it was disabled. The caller has checked the URL.

    Raises `NotFound`, and `InvalidRequest` for unknown event types. `updated_at` changes only if a value changes.
    """
    row = await get_endpoint(session, project_id, endpoint_id, lock=True)
    changed: dict[str, object] = {}
    if request.name is not UNSET and request.name != row.name:
        changed["name"] = request.name
    if request.url is not UNSET and request.url != row.url:
        changed |= {"url": request.url, "failing_since": None, "slow_since": None}
    if request.event_types is not UNSET and (event_types := check_types(request.event_types)) != row.event_types:
        changed["event_types"] = event_types
    if row.disabled_at is not None:
        changed |= {"disabled_at": None, "disabled_reason": None, "failing_since": None}
    if changed:
        for name, value in changed.items():
            setattr(row, name, value)
        await _set_updated(session, row)
    return row


async def rotate_secret(
    session: AsyncSession, sealer: Sealer, project_id: str, endpoint_id: str, *, keep_old: bool
) -> tuple[WebhookEndpoint, str]:
    """Replace the secret. With `keep_old` the old one signs too for 24 hours. Raises `NotFound`."""
    row = await get_endpoint(session, project_id, endpoint_id, lock=True)
    secret = new_secret()
    row.old_secret_encrypted = row.secret_encrypted if keep_old else None
    row.old_secret_expires_at = func.now() + OLD_SECRET_LIFETIME if keep_old else None
    row.secret_encrypted = seal_secret(sealer, row.id, secret)
    row.secret_hint = secret_hint(secret)
    await _set_updated(session, row)
    return row, secret


async def delete_endpoint(session: AsyncSession, project_id: str, endpoint_id: str) -> None:
    """Delete an endpoint. Its pending deliveries end as failed. Raises `NotFound`."""
    row = await get_endpoint(session, project_id, endpoint_id, lock=True)
    row.deleted_at = func.now()
    row.old_secret_encrypted = None


async def send_test(
    sender: Sender, sealer: Sealer, endpoint: WebhookEndpoint, event_type: str, *, now: dt.datetime
) -> TestResult:
    """Sign and send a sample now, outside any transaction and whatever the subscription; nothing is recorded.

    Raises `InvalidRequest` for an unknown type, and when the target does not respond.
    """
    check_types([event_type], param="event_type")
    event_id = new_id("evt_")
    body = sample_body(event_id, type=event_type, now=now)
    headers = signed_headers(message_id=event_id, now=now, body=body, secrets=active_secrets(sealer, endpoint, now=now))
    outcome = await sender.send(endpoint.url, headers, body, project_id=endpoint.project_id)
    if isinstance(outcome, Unreachable):
        forbidden = outcome.reason == "forbidden_target"
        raise InvalidRequest(
            f"The test delivery got no response from {endpoint.url}: {outcome.reason}: {outcome.detail}",
            param="url" if forbidden else None,
            code="forbidden_webhook_target" if forbidden else "webhook_target_unreachable",
            headers={"x-should-retry": "false"},
        )
    return TestResult(webhook_endpoint_id=endpoint.id, event_type=event_type, status_code=outcome.status_code)


async def trigger(session: AsyncSession, project_id: str, event_type: str, *, now: dt.datetime) -> WebhookEvent:
    """Record a sample event; it is delivered like a real one. Raises `InvalidRequest` for an unknown type."""
    check_types([event_type], param="event_type")
    sample = CATALOGUE[event_type]
    event_id = await outbox.emit(
        session,
        project_id=project_id,
        type=event_type,
        subject=sample.subject,
        data={**sample.data, "project_id": project_id},
        now=now,
    )
    return await get_event(session, project_id, event_id)


async def redeliver(session: AsyncSession, project_id: str, delivery_id: str) -> WebhookDelivery:
    """Send a delivery again now, with the same `webhook-id` and a restarted retry schedule.

    Raises `NotFound`, and `Conflict` when its endpoint is deleted or disabled.
    """
    row = await get_delivery(session, project_id, delivery_id)
    endpoint = await session.get_one(WebhookEndpoint, row.endpoint_id)
    if endpoint.deleted_at is not None:
        raise Conflict(f"The endpoint {endpoint.id} of this delivery was deleted.", code="webhook_endpoint_deleted")
    _check_enabled(endpoint)
    row.status, row.failures, row.due_at = "pending", 0, func.now()
    await session.flush()
    await session.refresh(row)
    wake(session, DELIVERIES, row.id, row.lease_token)
    return row


async def recover(session: AsyncSession, project_id: str, endpoint_id: str, *, since: dt.datetime) -> tuple[int, bool]:
    """Deliver what an endpoint missed since a time: its failed deliveries, and events of its types that have no
    delivery to it because it was disabled or did not exist yet.

    At most `MAX_RECOVERED` of them, the oldest first; a project's calls run one after the other, because each may read
    all its events. Returns the number of deliveries made pending, and whether more remain. Raises `NotFound`, and
    `Conflict` when the endpoint is disabled.
    """
    endpoint = await get_endpoint(session, project_id, endpoint_id)
    _check_enabled(endpoint)
    await session.execute(PROJECT_ENDPOINTS.take(project_id))
    in_scope = (
        (WebhookEvent.project_id == project_id)
        & (WebhookEvent.created_at >= since)
        & WebhookEvent.type.in_(endpoint.event_types)
    )
    failed = (
        await session.scalars(
            select(WebhookDelivery.id)
            .join(WebhookEvent, WebhookEvent.id == WebhookDelivery.event_id)
            .where(
                WebhookDelivery.project_id == project_id,
                WebhookDelivery.endpoint_id == endpoint_id,
                WebhookDelivery.status == "failed",
                in_scope,
            )
            .order_by(WebhookDelivery.id)
            .limit(MAX_RECOVERED + 1)
        )
    ).all()
    retried = (
        await session.scalars(
            update(WebhookDelivery)
            .where(WebhookDelivery.id.in_(failed[:MAX_RECOVERED]), WebhookDelivery.status == "failed")
            .values(status="pending", failures=0, due_at=func.now())
            .returning(WebhookDelivery.id)
        )
    ).all()
    if len(failed) > MAX_RECOVERED:
        return len(retried), True
    room = MAX_RECOVERED - len(failed)
    delivered = exists().where(WebhookDelivery.event_id == WebhookEvent.id, WebhookDelivery.endpoint_id == endpoint_id)
    missed = (
        await session.scalars(
            select(WebhookEvent.id).where(in_scope, ~delivered).order_by(WebhookEvent.id).limit(room + 1)
        )
    ).all()
    if missed[:room]:
        await session.execute(
            insert(WebhookDelivery)
            .values(
                [
                    {
                        "id": new_id("whd_"),
                        "project_id": project_id,
                        "endpoint_id": endpoint_id,
                        "event_id": event_id,
                        "due_at": func.now(),
                    }
                    for event_id in missed[:room]
                ]
            )
            .on_conflict_do_nothing(index_elements=["event_id", "endpoint_id"])
        )
    return len(retried) + len(missed[:room]), len(missed) > room


def check_types(names: Iterable[str], *, param: str = "event_types") -> list[str]:
    """The names without duplicates. Raises `InvalidRequest` for a name that is no event type."""
    unique = list(dict.fromkeys(names))
    for name in unique:
        if name not in EVENT_TYPES:
            raise InvalidRequest(
                f"Unknown event type '{name[:100]}'. The event types are: {', '.join(EVENT_TYPES)}.",
                param=param,
                code="unknown_event_type",
            )
    return unique


def _check_enabled(endpoint: WebhookEndpoint) -> None:
    if endpoint.disabled_at is not None:
        raise Conflict(
            f"The endpoint {endpoint.id} is disabled: {endpoint.disabled_reason} Update it to enable it again.",
            code="webhook_endpoint_disabled",
        )


async def _set_updated(session: AsyncSession, row: WebhookEndpoint) -> None:
    row.updated_at = func.now()
    await session.flush()
    await session.refresh(row)
