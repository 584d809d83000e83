"""Prints as JSON the CPU milliseconds of importing what `tunegate serve` imports, by top-level package.

A program of `benchmarks.start`, run in a process of its own: every import in it is timed, without the imports inside it.
"""

from __future__ import annotations

import gc
import json
import time
from collections import Counter
from importlib import _bootstrap
from typing import Any

gc.disable()
_find_and_load: Any = _bootstrap._find_and_load  # type: ignore[attr-defined]
_inside: list[float] = []
_spent: Counter[str] = Counter()


def _timed(name: str, import_: Any) -> Any:
    """Import a module, and record its CPU time under its package."""
    begun = time.thread_time()
    _inside.append(0.0)
    try:
        return _find_and_load(name, import_)
    finally:
        seconds = time.thread_time() - begun
        _spent[name.partition(".")[0]] += seconds - _inside.pop()
        if _inside:
            _inside[-1] += seconds


_bootstrap._find_and_load = _timed  # type: ignore[attr-defined]

import uvicorn  # noqa: E402, F401

import cli.commands.serve  # noqa: E402
import cli.main  # noqa: E402, F401
import service.app  # noqa: E402, F401

print(json.dumps({package: seconds * 1000 for package, seconds in _spent.items()}))
