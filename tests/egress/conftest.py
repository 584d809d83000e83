"""Time limits of the sender, as in the tests of webhooks."""

from tests.webhooks.conftest import patient

__all__ = ["patient"]
