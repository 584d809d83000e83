"""One attempt of a delivery, when it has ended."""

import datetime as dt
from dataclasses import dataclass
from typing import assert_never

from service.database.leases import Claim
from service.database.tables import WebhookDelivery
from service.states import DeliveryStatus
from service.webhooks.outcomes import Outcome
from service.webhooks.schedule import Exhausted, Gone, RetryIn, Succeeded, Verdict, is_slow
from workers.webhooks.messages import Message


@dataclass(frozen=True, slots=True)
class Unsendable:
    """The endpoint was deleted or disabled after the event was written for it: nothing is sent."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """What is recorded of an attempt. The verdict is None if nothing was sent."""

    claimed: Claim[WebhookDelivery]
    message: Message
    started_at: dt.datetime
    outcome: Outcome | Unsendable
    verdict: Verdict | None

    @property
    def status(self) -> DeliveryStatus:
        """The delivery's status after this attempt, unless a redelivery was requested meanwhile."""
        match self.verdict:
            case Succeeded():
                return "succeeded"
            case RetryIn():
                return "pending"
            case Exhausted() | Gone() | None:
                return "failed"
            case unknown:
                assert_never(unknown)

    @property
    def due_in(self) -> dt.timedelta | None:
        """The time until the next attempt, None if this was the last one."""
        return dt.timedelta(seconds=self.verdict.seconds) if isinstance(self.verdict, RetryIn) else None

    @property
    def slow_since(self) -> dt.datetime | None:
        """Since when the endpoint is slow, if this attempt was."""
        return self.started_at if not isinstance(self.outcome, Unsendable) and is_slow(self.outcome) else None
