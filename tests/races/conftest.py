"""Fixtures of the races: the workers' bench."""

from tests.workers.conftest import _short_logs, bench, hasty, patience, quick, steady, upstream, upstream_program

__all__ = ["_short_logs", "bench", "hasty", "patience", "quick", "steady", "upstream", "upstream_program"]
