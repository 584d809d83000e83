"""Fixtures of the tests of webhooks: a project with a worker's part of deliveries, and a receiver."""

import dataclasses
from collections.abc import AsyncIterator

import pytest

from service.settings import Settings
from tests.webhooks.factories import WebhookHarness, open_webhook_harness
from tests.webhooks.receiver import Receiver, receiving


@pytest.fixture
async def webhook_harness(settings: Settings) -> AsyncIterator[WebhookHarness]:
    """A project in a fresh database. Nothing is tried again by itself: `make_due` lets the time pass. An answer has a
    minute to come, which only those that never come use up."""
    unhurried = dataclasses.replace(
        settings, webhook_schedule_seconds=(60.0, 60.0, 120.0, 300.0, 600.0, 3600.0), webhook_timeout_seconds=60.0
    )
    async with open_webhook_harness(unhurried) as made:
        yield made


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A real receiver on a port."""
    async with receiving() as started:
        yield started
