"""Answering a call once: one that comes again under its `Idempotency-Key` gets the answer that it got before.

The last answers are remembered, in memory. A call that comes while the first is under way waits for it.
"""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

_REMEMBERED = 1_000


class Once:
    """One for each server."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[bytes, _Entry] = OrderedDict()

    def answer(self, key: str | None, body: bytes, make: Callable[[], Any]) -> Any:
        """What `make` gives, or gave for the same key and body. What it raises is not remembered."""
        if key is None:
            return make()
        name = hashlib.sha256(key.encode() + b"\0" + body).digest()
        with self._lock:
            entry = self._known.setdefault(name, _Entry())
            self._known.move_to_end(name)
            if len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        with entry.turn:
            if entry.answer is None:
                entry.answer = make()
            return entry.answer


class _Entry:
    def __init__(self) -> None:
        self.turn = threading.Lock()
        self.answer: Any = None
