"""Checks that the fast token counter agrees with tiktoken: first on edge cases, then on samples of the file."""

from __future__ import annotations

import multiprocessing
import signal
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from service.catalogue.tokens import EDGE_CASE_TEXTS, CountsDiffer, TokenCounter, reference_counter


class TokenizerCheck:
    """Compares token counts with tiktoken's: call `compare` with samples, then `finish`.

    Raises CountsDiffer, in `finish` at the latest, if any count differs from tiktoken's. `in_subprocess` runs the
    comparison in a process of its own, because tiktoken is slow to load and blocks all other threads while it loads.
    Create the check before anything else is loaded.
    """

    def __init__(self, encoding: str, *, in_subprocess: bool) -> None:
        self._encoding = encoding
        self._process: BaseProcess | None = None
        if in_subprocess:
            self._samples, child_end = multiprocessing.Pipe()
            self._process = multiprocessing.get_context("fork").Process(
                target=_compare_samples, args=(encoding, child_end, self._samples), daemon=True
            )
            self._process.start()
            child_end.close()

    def check_edge_cases(self, counter: TokenCounter) -> None:
        """Compares the counts of `counter` for EDGE_CASE_TEXTS."""
        for text in EDGE_CASE_TEXTS:
            self.compare(text, counter.count(text))

    def compare(self, text: str, tokens: int) -> None:
        """Compares the fast counter's count of a text with tiktoken's."""
        if self._process is None:
            _compare(self._encoding, text, tokens)
        else:
            self._samples.send((text, tokens))

    def finish(self) -> None:
        """Waits until all samples are compared.

        Raises CountsDiffer, or the error that prevented the comparison, such as EncodingDamaged.
        """
        if self._process is None:
            return
        self._samples.send(None)
        failure: Exception | None = self._samples.recv()
        self.close()
        if failure is not None:
            raise failure

    def close(self) -> None:
        """Ends the process, if there is one, even if comparisons are outstanding."""
        if self._process is not None:
            self._process.terminate()
            self._process.join()
            self._samples.close()


def _compare(encoding: str, text: str, tokens: int) -> None:
    if reference_counter(encoding).count(text) != tokens:
        raise CountsDiffer(f"the fast counter of {encoding} differs from tiktoken")


def _compare_samples(encoding: str, samples: Connection[Any, Any], parent_end: Connection[Any, Any]) -> None:
    """Loads tiktoken, compares samples until it receives None, then sends the first failure, or None."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent_end.close()
    failure: Exception | None = None
    try:
        reference_counter(encoding)
    except Exception as error:
        failure = error
    try:
        while (sample := samples.recv()) is not None:
            try:
                if failure is None:
                    _compare(encoding, *sample)
            except Exception as error:
                failure = error
        samples.send(failure)
    except (EOFError, OSError):
        return
