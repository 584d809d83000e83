"""The bench of the workers' tests, and what to delete on it."""

from tests.http.conftest import api, gateway
from tests.workers.conftest import _short_logs, bench, hasty, patience, quick, upstream, upstream_program

__all__ = ["_short_logs", "api", "bench", "gateway", "hasty", "patience", "quick", "upstream", "upstream_program"]
