"""Publishes tuned models to vLLM. A job in `publishing` ends once its model has answered there."""

import logging
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path

from ..recording import fail_publishing, succeed
from ..store import Store
from .adapters import Adapters
from .servers import NotServed, Served, Servers

CHECK_SECONDS = 1.0
_log = logging.getLogger("trainer")


class Publisher:
    """One for a server; `run` is the body of a thread, all else is safe between threads.

    `folder_of` gives the local folder of weights. A model must answer within `wait_seconds` after its training.
    """

    def __init__(
        self,
        store: Store,
        folder_of: Callable[[str], Path],
        servers: Servers,
        adapters: Adapters,
        *,
        wait_seconds: float,
    ) -> None:
        self._store, self._folder_of, self._wait_seconds = store, folder_of, wait_seconds
        self._servers, self._adapters = servers, adapters
        self._lock = threading.Lock()
        earlier = store.rows("SELECT id FROM models WHERE NOT is_checkpoint ORDER BY seq")
        self._unanswered = [row["id"] for row in earlier if not adapters.is_published(row["id"])]

    def run(self, stopping: threading.Event) -> None:
        """Publish until `stopping` is set."""
        while not stopping.wait(CHECK_SECONDS):
            try:
                self.check(stopping)
            except (OSError, sqlite3.OperationalError):
                _log.exception("publisher: trying again")

    def check(self, stopping: threading.Event) -> None:
        """Try each model that waits for its first answer."""
        for job in self._store.rows("SELECT * FROM jobs WHERE status = 'publishing' ORDER BY seq"):
            if not stopping.is_set():
                self._check_job(job)
        for model in list(self._unanswered):
            row = self._store.row("SELECT base, weights FROM models WHERE id = ?", model)
            if not stopping.is_set() and (row is None or self._try(model, row["base"], row["weights"]) is None):
                self._unanswered.remove(model)

    def has_answered(self, model: str) -> bool:
        """Whether a tuned model may be listed. Those that were published before this server started have answered."""
        return model not in self._unanswered

    def publish(self, model: str, base: str, weights: str | None) -> Served:
        """Where a model is served, after its adapter was published. Raises NotServed, FileNotFoundError."""
        served = self._servers.served(base)
        if weights is not None:
            with self._lock:
                try:
                    self._adapters.publish(model, self._folder_of(weights) / "model", root=served.root)
                except ValueError as error:
                    raise NotServed(str(error)) from None
        return served

    def remove(self, model: str, base: str) -> None:
        """Take a deleted model from vLLM."""
        with self._lock:
            self._adapters.remove(model)
        self._servers.unload(base, model)

    def _check_job(self, job: sqlite3.Row) -> None:
        reason = self._try(job["tuned_name"], job["base"], job["resume_weights"])
        if reason is None:
            succeed(self._store, job["id"])
        elif time.time() > job["entered_at"] + self._wait_seconds:
            fail_publishing(self._store, job["id"], reason, wait_seconds=self._wait_seconds)

    def _try(self, model: str, base: str, weights: str) -> str | None:
        """Publish a model and ask it for a token. None, or why it does not answer."""
        try:
            self.publish(model, base, weights)
            self._servers.check(base, model)
        except (NotServed, OSError) as error:
            _log.warning("%s does not answer yet: %s", model, error)
            return str(error)
        return None
