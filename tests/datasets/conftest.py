"""The API of `tests/http`, without workers."""

from tests.http.conftest import api, gateway

__all__ = ["api", "gateway"]
