"""Whether the fast counter counts as tiktoken does: on hard texts at first, then on samples of the file all along."""

from __future__ import annotations

import multiprocessing
import signal
from multiprocessing.connection import Connection
from typing import Any

from service.catalogue.tokens import HARD_TEXTS, CountsDiffer, TokenCounter, reference


class Referee:
    """Give it samples, then end it. Raises CountsDiffer, at the latest at the end, if any count is not tiktoken's.

    `apart` lets it work in a process of its own, for tiktoken takes a while to load and lets no other thread work
    meanwhile. It is best made before anything else is loaded.
    """

    def __init__(self, encoding: str, *, apart: bool) -> None:
        self._encoding = encoding
        self._process: Any = None
        if apart:
            self._samples, theirs = multiprocessing.Pipe()
            self._process = multiprocessing.get_context("fork").Process(
                target=_judge_all, args=(encoding, theirs, self._samples), daemon=True
            )
            self._process.start()
            theirs.close()

    def begin(self, counter: TokenCounter) -> None:
        """Compares `counter` on hard texts."""
        for text in HARD_TEXTS:
            self.compare(text, counter.count(text))

    def compare(self, text: str, tokens: int) -> None:
        """Takes a text and its count."""
        if self._process is None:
            _judge(self._encoding, text, tokens)
        else:
            self._samples.send((text, tokens))

    def end(self) -> None:
        """Waits until all samples are compared. Raises also what kept it from comparing, such as EncodingDamaged."""
        if self._process is None:
            return
        self._samples.send(None)
        failure: Exception | None = self._samples.recv()
        self.dismiss()
        if failure is not None:
            raise failure

    def dismiss(self) -> None:
        """Ends the process, if there is one, whether it is done or not."""
        if self._process is not None:
            self._process.terminate()
            self._process.join()
            self._samples.close()


def _judge(encoding: str, text: str, tokens: int) -> None:
    if reference(encoding).count(text) != tokens:
        raise CountsDiffer(f"the fast counter of {encoding} differs from tiktoken")


def _judge_all(encoding: str, samples: Connection[Any, Any], other_end: Connection[Any, Any]) -> None:
    """Loads tiktoken, then takes samples until None comes; answers with the first failure, or None."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    other_end.close()
    failure: Exception | None = None
    try:
        reference(encoding)
    except Exception as error:
        failure = error
    try:
        while (sample := samples.recv()) is not None:
            try:
                if failure is None:
                    _judge(encoding, *sample)
            except Exception as error:
                failure = error
        samples.send(failure)
    except (EOFError, OSError):
        return
