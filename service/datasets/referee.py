"""Whether the fast counter counts as tiktoken does: on hard texts at the start, and on samples of the file all along.

It works in a thread of its own, since tiktoken takes a while to load and lets others work while it counts.
"""

from __future__ import annotations

import threading
from queue import SimpleQueue

from service.datasets.tokens import HARD_TEXTS, CountsDiffer, TokenCounter, reference


class Referee:
    """Start it, give it samples, end it. What differs is raised by the next call."""

    def __init__(self, encoding: str, counter: TokenCounter) -> None:
        self._encoding = encoding
        self._counter = counter
        self._samples: SimpleQueue[tuple[str, int] | None] = SimpleQueue()
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._work, name="referee", daemon=True)

    def start(self) -> None:
        """Begins with the hard texts."""
        self._thread.start()

    def compare(self, text: str, tokens: int) -> None:
        """Takes a text and its count. Raises CountsDiffer if an earlier one was wrong."""
        self._samples.put((text, tokens))
        if self._failure is not None:
            raise self._failure

    def end(self) -> None:
        """Waits until all samples are compared. Raises CountsDiffer if any was wrong, EncodingDamaged."""
        self._samples.put(None)
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    def _work(self) -> None:
        try:
            count = reference(self._encoding).count
            for text in HARD_TEXTS:
                self._judge(count(text), self._counter.count(text))
            while (sample := self._samples.get()) is not None:
                self._judge(count(sample[0]), sample[1])
        except Exception as error:
            self._failure = error

    def _judge(self, right: int, counted: int) -> None:
        if right != counted:
            raise CountsDiffer(f"the fast counter of {self._encoding} differs from tiktoken")
