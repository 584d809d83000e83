"""Webhook endpoints and deliveries on the wire; endpoints as the SDK's `WebhookEndpoint` has them."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from service.database.tables import WebhookAttempt, WebhookDelivery, WebhookEndpoint, WebhookEvent
from service.http.wire_types import PageQuery, RequestModel, unix

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=256, pattern=r"^[^\x00-\x1f\x7f]*$")]
Url = Annotated[str, msgspec.Meta(min_length=1)]
EventTypeNames = Annotated[list[str], msgspec.Meta(min_length=1)]
UnixSeconds = Annotated[int, msgspec.Meta(ge=0, le=4_102_444_800)]
DeliveryStatus = Literal["pending", "succeeded", "failed"]


class CreateEndpoint(RequestModel, frozen=True, kw_only=True):
    """The body of a creation."""

    name: Name
    url: Url
    event_types: EventTypeNames


class UpdateEndpoint(RequestModel, frozen=True, kw_only=True):
    """What is to change. `event_types` is the whole new set. Any update enables a disabled endpoint again."""

    name: Name | UnsetType = UNSET
    url: Url | UnsetType = UNSET
    event_types: EventTypeNames | UnsetType = UNSET


class RotateSecret(RequestModel, frozen=True, kw_only=True):
    """Whether deliveries are signed with the old secret too for a day."""

    keep_old_secret_active_for_24_hours: bool = False


class SendTest(RequestModel, frozen=True, kw_only=True):
    """Which event's sample is sent; the endpoint need not be subscribed to it."""

    event_type: str


class Recover(RequestModel, frozen=True, kw_only=True):
    """Send again what was missed since this time, in Unix seconds."""

    since: UnixSeconds


class ListDeliveries(PageQuery, frozen=True, kw_only=True):
    """The query of a list of deliveries."""

    status: DeliveryStatus | None = None


class ListEvents(PageQuery, frozen=True, kw_only=True):
    """The query of a list of events. `event_types` are names separated by commas; `stream=true` answers server-sent
    events as they happen."""

    event_types: str | None = None
    stream: bool = False

    def types(self) -> list[str]:
        """The types that are asked for; none means all."""
        return [name for name in (self.event_types or "").split(",") if name]


class TriggerEvent(RequestModel, frozen=True, kw_only=True):
    """Which event's sample is to happen."""

    event_type: str


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """An event, as the body of its deliveries has it."""

    id: str
    object: Literal["event"] = "event"
    type: str
    created_at: int
    data: dict[str, Any]


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """A webhook endpoint. `status` and `disabled_reason` are ours."""

    id: str
    object: Literal["webhook_endpoint"] = "webhook_endpoint"
    created_at: int
    updated_at: int
    name: str
    url: str
    event_types: list[str]
    signing_secret_hint: str
    status: Literal["enabled", "disabled"]
    disabled_reason: str | None


class EndpointWithSecret(Endpoint, frozen=True, kw_only=True):
    """The same with the signing secret, which is shown this once."""

    signing_secret: str


class EndpointDeleted(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a deletion."""

    id: str
    object: Literal["webhook_endpoint.deleted"] = "webhook_endpoint.deleted"
    deleted: bool = True


class TestResult(msgspec.Struct, frozen=True, kw_only=True):
    """The target answered a test delivery; `status_code` says how."""

    object: Literal["webhook_endpoint.test"] = "webhook_endpoint.test"
    webhook_endpoint_id: str
    event_type: str
    status_code: int
    success: Literal[True] = True


class EventTypeList(msgspec.Struct, frozen=True, kw_only=True):
    """Every type of event, and what each means."""

    object: Literal["list"] = "list"
    data: list[str]
    descriptions: dict[str, str]


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One try: an answer's `status_code` and beginning, or the `error` that came instead."""

    at: int
    status_code: int | None
    latency_ms: int
    error: str | None
    response: str | None


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """One event on its way to one endpoint, with every try."""

    id: str
    object: Literal["webhook_delivery"] = "webhook_delivery"
    event_id: str
    event_type: str
    status: DeliveryStatus
    next_attempt_at: int | None
    attempts: list[Attempt]


class Recovery(msgspec.Struct, frozen=True, kw_only=True):
    """How many deliveries were put on their way; `has_more` asks for the same call again."""

    object: Literal["webhook_endpoint.recovery"] = "webhook_endpoint.recovery"
    webhook_endpoint_id: str
    since: int
    deliveries: int
    has_more: bool


def show_event(row: WebhookEvent) -> Event:
    """An event on the wire."""
    return msgspec.json.decode(row.body, type=Event)


def show_endpoint(row: WebhookEndpoint) -> Endpoint:
    """A row on the wire."""
    return Endpoint(
        id=row.id,
        created_at=unix(row.created_at),
        updated_at=unix(row.updated_at),
        name=row.name,
        url=row.url,
        event_types=row.event_types,
        signing_secret_hint=row.secret_hint,
        status="enabled" if row.disabled_at is None else "disabled",
        disabled_reason=row.disabled_reason,
    )


def show_with_secret(row: WebhookEndpoint, secret: str) -> EndpointWithSecret:
    """A row and its fresh secret on the wire."""
    return EndpointWithSecret(**msgspec.structs.asdict(show_endpoint(row)), signing_secret=secret)


def show_delivery(row: WebhookDelivery, event_type: str, attempts: Sequence[WebhookAttempt]) -> Delivery:
    """A delivery on the wire, its tries in order."""
    return Delivery(
        id=row.id,
        event_id=row.event_id,
        event_type=event_type,
        status=row.status,
        next_attempt_at=unix(row.due_at) if row.status == "pending" and row.due_at else None,
        attempts=[
            Attempt(
                at=unix(attempt.started_at),
                status_code=attempt.status_code,
                latency_ms=attempt.latency_ms,
                error=attempt.error,
                response=attempt.response,
            )
            for attempt in attempts
        ],
    )
