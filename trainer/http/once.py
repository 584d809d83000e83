"""Answers a call once: a repeated call with the same `Idempotency-Key` gets the stored answer.

The latest answers are stored in memory. A call that arrives while the first is in progress waits for it.
"""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

MAX_STORED = 1_000


class Once:
    """The stored responses of one server."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: OrderedDict[bytes, _Entry] = OrderedDict()

    def answer(self, key: str | None, body: bytes, make: Callable[[], Any]) -> Any:
        """The result of `make`, or its earlier result for the same key and body. Exceptions are not stored."""
        if key is None:
            return make()
        name = hashlib.sha256(key.encode() + b"\0" + body).digest()
        with self._lock:
            entry = self._entries.setdefault(name, _Entry())
            self._entries.move_to_end(name)
            if len(self._entries) > MAX_STORED:
                self._entries.popitem(last=False)
        with entry.lock:
            if entry.answer is None:
                entry.answer = make()
            return entry.answer


class _Entry:
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.answer: Any = None
