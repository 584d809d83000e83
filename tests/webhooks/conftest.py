"""Time limits of the sender for a machine that may stand still."""

import pytest

from service.webhooks import sender


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A look-up and the start of a body have a minute, so that a machine that stands still is no slow receiver."""
    monkeypatch.setattr(sender, "CHECK_SECONDS", 60.0)
    monkeypatch.setattr(sender, "BODY_SECONDS", 60.0)
