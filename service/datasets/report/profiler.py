"""Measures how the CPU time of a report divides among its steps, for `tunegate check --profile`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import ParamSpec, TypeAlias, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

Seconds: TypeAlias = dict[str, float]
"""CPU seconds by the name of a step."""


class Profiler:
    """Collects the CPU seconds of this thread by step. The time of a step inside another one counts only once."""

    def __init__(self) -> None:
        self.seconds: Seconds = {}
        self._inner_seconds = 0.0

    def timed(self, name: str, function: Callable[P, R]) -> Callable[P, R]:
        """A wrapper of `function` that adds its time to the step `name`."""

        def run(*args: P.args, **kwargs: P.kwargs) -> R:
            outer, self._inner_seconds = self._inner_seconds, 0.0
            start = time.thread_time()
            try:
                return function(*args, **kwargs)
            finally:
                spent = time.thread_time() - start
                self.seconds[name] = self.seconds.get(name, 0.0) + spent - self._inner_seconds
                self._inner_seconds = outer + spent

        return run

    def take_seconds(self) -> Seconds:
        """Returns what was collected since the last call, and starts again at zero."""
        taken, self.seconds = self.seconds, {}
        return taken


def timed(profiler: Profiler | None, name: str, function: Callable[P, R]) -> Callable[P, R]:
    """`function` wrapped by the profiler; `function` itself if there is no profiler."""
    return function if profiler is None else profiler.timed(name, function)


def add_seconds(total: Seconds, more: Seconds) -> None:
    """Adds the seconds of each step in `more` to `total`."""
    for name, seconds in more.items():
        total[name] = total.get(name, 0.0) + seconds


def eager(function: Callable[P, Iterable[R]]) -> Callable[P, list[R]]:
    """A wrapper that returns all results as a list, so that a profiler measures a generator's whole work."""

    def run(*args: P.args, **kwargs: P.kwargs) -> list[R]:
        return list(function(*args, **kwargs))

    return run
