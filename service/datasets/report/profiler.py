"""How the time of a report divides among its checks, for `tunegate check --profile`."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


class Profiler:
    """CPU seconds of this thread by name; what runs inside something else is not counted twice."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self._inside = 0.0

    def timed(self, name: str, function: Callable[P, R]) -> Callable[P, R]:
        """`function` with its time noted under `name`."""

        def run(*args: P.args, **kwargs: P.kwargs) -> R:
            outer, self._inside = self._inside, 0.0
            start = time.thread_time()
            try:
                return function(*args, **kwargs)
            finally:
                spent = time.thread_time() - start
                self.seconds[name] += spent - self._inside  # type: ignore[assignment]
                self._inside = outer + spent

        return run

    def take(self) -> Counter[str]:
        """What was noted since the last call."""
        taken, self.seconds = self.seconds, Counter()
        return taken


def timed(profiler: Profiler | None, name: str, function: Callable[P, R]) -> Callable[P, R]:
    """`function`, timed where there is a stopwatch, and itself where there is none."""
    return function if profiler is None else profiler.timed(name, function)


def whole(function: Callable[P, Iterable[R]]) -> Callable[P, list[R]]:
    """A function that has found all that it finds when it returns, and not only when that is taken."""

    def run(*args: P.args, **kwargs: P.kwargs) -> list[R]:
        return list(function(*args, **kwargs))

    return run
