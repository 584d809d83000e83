"""Fixtures of the webhooks' tests."""

from collections.abc import AsyncIterator

import pytest

from service.settings import Settings
from tests.webhooks.factories import World, world
from tests.webhooks.receiver import Receiver, receiving


@pytest.fixture
async def here(settings: Settings) -> AsyncIterator[World]:
    """A project in a fresh database."""
    async with world(settings) as made:
        yield made


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A real receiver on a port."""
    async with receiving() as started:
        yield started
