"""Where a training reports to: a thread sends what happened to the server, the weights go to the object store."""

import math
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from .plan import Plan
from .reports import MAX_REPORTS, Message, Report, Saved, Step, Succeeded
from .server_client import ServerClient
from .storage import Storage

FLUSH_SECONDS = 0.2
"""A report waits at most this long for others to share its request."""
HEARTBEAT_SECONDS = 0.5
"""Without reports the server is asked this often whether the process still owns its job."""
MAX_WAITING = 2 * MAX_REPORTS
"""While the server is unavailable, training goes on until this many reports wait for it."""


class ServerRecorder:
    """See `trainer.engines.port.Recorder`. Close it, or it goes on reporting.

    `weights` is the prefix of this attempt's weights in the store. What the thread raised (Fenced, ServerGone) is
    raised by the next call. Without `reports` the recorder asks only whether the process still owns its job, as the
    others do of several processes that train together.
    """

    def __init__(
        self, client: ServerClient, storage: Storage, plan: Plan, *, weights: str, reports: bool = True
    ) -> None:
        self._reports = reports
        self._client, self._storage, self._plan, self._weights = client, storage, plan, weights
        self._changed = threading.Condition()
        self._waiting: list[Report] = []
        self._flushing = self._closed = False
        self._failure: BaseException | None = None
        self._step_began = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="reports", daemon=True)
        self._thread.start()

    def step(self, step: int, *, tokens: int, figures: Mapping[str, float]) -> None:
        now = time.monotonic()
        seconds, self._step_began = now - self._step_began, now
        self._add(
            Step(
                step=step,
                total_steps=self._plan.total_steps,
                tokens=tokens,
                seconds=seconds,
                figures=_finite(figures),
            )
        )

    def save(
        self, step: int, *, tokens: int, model: Path, state: Path | None, checkpoint: Mapping[str, float] | None
    ) -> None:
        if not self._reports:
            return
        self.flush()
        prefix = f"{self._weights}/step-{step}"
        self._storage.put_folder(f"{prefix}/model", model)
        if state is not None:
            self._storage.put_folder(f"{prefix}/state", state)
        metrics = None if checkpoint is None else _finite(checkpoint)
        self._add(Saved(step=step, tokens=tokens, weights=prefix, checkpoint=metrics))
        self.flush()

    def proceed(self) -> None:
        with self._changed:
            self._raise_failure()

    def message(self, key: str, text: str, *, level: Literal["info", "warn"] = "info") -> None:
        self._add(Message(key=key, text=text, level=level))

    def succeed(self) -> None:
        """Report the end of the training."""
        self._add(Succeeded())
        self.flush()

    def flush(self) -> None:
        """Return once the server has recorded everything so far."""
        with self._changed:
            self._flushing = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._waiting or self._failure is not None)
            self._flushing = False
            self._raise_failure()

    def close(self) -> None:
        """Stop reporting; what waits is dropped."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join(timeout=1)

    def _add(self, report: Report) -> None:
        with self._changed:
            self._changed.wait_for(lambda: len(self._waiting) < MAX_WAITING or self._failure is not None)
            self._raise_failure()
            if self._reports:
                self._waiting.append(report)

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _must_act(self) -> bool:
        return self._closed or (self._flushing and bool(self._waiting))

    def _run(self) -> None:
        answered = time.monotonic()
        while True:
            with self._changed:
                self._changed.wait_for(self._must_act, timeout=FLUSH_SECONDS)
                if self._closed:
                    return
                batch = self._waiting[:MAX_REPORTS]
                if not batch and time.monotonic() < answered + HEARTBEAT_SECONDS:
                    continue
            try:
                self._client.report(batch)
            except BaseException as failure:
                with self._changed:
                    self._failure = failure
                    self._changed.notify_all()
                return
            answered = time.monotonic()
            with self._changed:
                del self._waiting[: len(batch)]
                self._changed.notify_all()


def _finite(figures: Mapping[str, float]) -> dict[str, float | None]:
    return {name: float(value) if math.isfinite(value) else None for name, value in figures.items()}
