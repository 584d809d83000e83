"""The wire types of webhooks; an endpoint has the fields of the SDK's `WebhookEndpoint`."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from service.database.tables import WebhookAttempt, WebhookDelivery, WebhookEndpoint, WebhookEvent
from service.http.wire_types import PageQuery, RequestModel, unix
from service.states import DeliveryStatus

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=256, pattern=r"^[^\x00-\x1f\x7f]*\Z")]
Url = Annotated[str, msgspec.Meta(min_length=1)]
EventTypeNames = Annotated[list[str], msgspec.Meta(min_length=1)]
UnixSeconds = Annotated[int, msgspec.Meta(ge=0, le=4_102_444_800)]


class CreateEndpoint(RequestModel, frozen=True, kw_only=True):
    """A new endpoint."""

    name: Name
    url: Url
    event_types: EventTypeNames


class UpdateEndpoint(RequestModel, frozen=True, kw_only=True):
    """The fields to change. `event_types` replaces the whole set. Any update enables a disabled endpoint again."""

    name: Name | UnsetType = UNSET
    url: Url | UnsetType = UNSET
    event_types: EventTypeNames | UnsetType = UNSET


class RotateSecret(RequestModel, frozen=True, kw_only=True):
    """A rotation: whether the old secret also signs deliveries for another 24 hours."""

    keep_old_secret_active_for_24_hours: bool = False


class SendTest(RequestModel, frozen=True, kw_only=True):
    """The type of the sample to send; the endpoint need not subscribe to it."""

    event_type: str


class Recover(RequestModel, frozen=True, kw_only=True):
    """The time, in Unix seconds, since which missed events are sent again."""

    since: UnixSeconds


class ListDeliveries(PageQuery, frozen=True, kw_only=True):
    """The query parameters of the list of deliveries."""

    status: DeliveryStatus | None = None


class ListEvents(PageQuery, frozen=True, kw_only=True):
    """The query parameters of the list of events. `event_types` are names separated by commas; with `stream=true` the
    response is a stream of server-sent events."""

    event_types: str | None = None
    stream: bool = False

    def types(self) -> list[str]:
        """The requested types; an empty list means all."""
        return [name for name in (self.event_types or "").split(",") if name]


class TriggerEvent(RequestModel, frozen=True, kw_only=True):
    """The type of the sample event to create."""

    event_type: str


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """An event, as in the body of its deliveries."""

    id: str
    object: Literal["event"] = "event"
    type: str
    created_at: int
    data: dict[str, Any]


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """A webhook endpoint. `status` and `disabled_reason` are Tunegate's additions to OpenAI's fields."""

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
    """An endpoint with its signing secret, which is shown only in this response."""

    signing_secret: str


class EndpointDeleted(msgspec.Struct, frozen=True, kw_only=True):
    """The response to a deletion."""

    id: str
    object: Literal["webhook_endpoint.deleted"] = "webhook_endpoint.deleted"
    deleted: bool = True


class TestResult(msgspec.Struct, frozen=True, kw_only=True):
    """The target responded to a test delivery with `status_code`."""

    object: Literal["webhook_endpoint.test"] = "webhook_endpoint.test"
    webhook_endpoint_id: str
    event_type: str
    status_code: int
    success: Literal[True] = True


class EventTypeList(msgspec.Struct, frozen=True, kw_only=True):
    """Every event type, and the meaning of each."""

    object: Literal["list"] = "list"
    data: list[str]
    descriptions: dict[str, str]


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt: the `status_code` and the start of the `response`, or the `error` if there was no response."""

    at: int
    status_code: int | None
    latency_ms: int
    error: str | None
    response: str | None


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """The delivery of one event to one endpoint, with every attempt."""

    id: str
    object: Literal["webhook_delivery"] = "webhook_delivery"
    event_id: str
    event_type: str
    status: DeliveryStatus
    next_attempt_at: int | None
    attempts: list[Attempt]


class Recovery(msgspec.Struct, frozen=True, kw_only=True):
    """The number of deliveries made pending; repeat the call while `has_more` is true."""

    object: Literal["webhook_endpoint.recovery"] = "webhook_endpoint.recovery"
    webhook_endpoint_id: str
    since: int
    deliveries: int
    has_more: bool


def show_event(row: WebhookEvent) -> Event:
    """An event as the API shows it."""
    return msgspec.json.decode(row.body, type=Event)


def show_endpoint(row: WebhookEndpoint) -> Endpoint:
    """An endpoint as the API shows it."""
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
    """A new endpoint or secret as the API shows it."""
    return EndpointWithSecret(**msgspec.structs.asdict(show_endpoint(row)), signing_secret=secret)


def show_delivery(row: WebhookDelivery, event_type: str, attempts: Sequence[WebhookAttempt]) -> Delivery:
    """A delivery as the API shows it, with its attempts in order."""
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
