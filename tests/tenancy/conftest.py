"""The API of `tests/http`, with two projects."""

from tests.http.conftest import api, gateway

__all__ = ["api", "gateway"]
