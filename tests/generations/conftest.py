"""The fixtures of runs."""

from tests.runs.conftest import lone_mill, mill, mill_site, scripted_program, upstream

__all__ = ["lone_mill", "mill", "mill_site", "scripted_program", "upstream"]
