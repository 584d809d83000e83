"""Starts a process for each phase of each job, and another when one dies.

Its only state is its children: it reads the rows every tenth of a second, so that a restarted server continues where
the last one was killed.
"""

import logging
import os
import sqlite3
import subprocess
import sys
import threading
import time
from dataclasses import dataclass

from . import jobs
from .engines.port import Fenced
from .settings import Settings
from .store import Store

CHECK_SECONDS = 0.1
_MAX_VALIDATIONS = 2
_BACKOFF_SECONDS = 0.2
_log = logging.getLogger("trainer")


@dataclass(frozen=True, slots=True)
class _Child:
    process: subprocess.Popen[bytes]
    attempt: int
    training: bool


class Supervisor:
    """Owns the training processes of one server; `run` is the body of a thread.

    That thread must live as long as the server: Linux kills a child when the thread that started it ends.
    """

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store, self._settings = store, settings
        self._children: dict[str, _Child] = {}
        self._not_before: dict[str, float] = {}

    def run(self, stopping: threading.Event) -> None:
        """Check children and jobs until `stopping` is set, then kill the children; the next server resumes jobs."""
        while not stopping.wait(CHECK_SECONDS):
            try:
                self.check()
            except (OSError, sqlite3.OperationalError):
                _log.exception("supervisor: trying again")
        for child in self._children.values():
            child.process.kill()
            child.process.wait()

    def check(self) -> None:
        """Collect children that ended and start those that are due; returns within milliseconds."""
        self._kill_fenced()
        self._collect()
        live = self._store.rows(
            "SELECT id, status, entered_at FROM jobs WHERE status IN ('validating_files', 'queued', 'running')"
            " ORDER BY status = 'queued', seq"
        )
        for job in live:
            training = job["status"] != "validating_files"
            waits = job["status"] == "queued" and time.time() < job["entered_at"] + self._settings.phase_seconds
            slots = self._settings.max_processes if training else _MAX_VALIDATIONS
            busy = sum(child.training == training for child in self._children.values())
            due = time.monotonic() >= self._not_before.get(job["id"], 0)
            if due and not waits and busy < slots and job["id"] not in self._children:
                self._start(job["id"], training=training)

    def _start(self, job_id: str, *, training: bool) -> None:
        attempt = jobs.claim(self._store, job_id, training=training)
        if attempt is None:
            return
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "trainer.train"),
                *("--phase", "train" if training else "validate"),
                *("--data-dir", str(self._settings.data_dir)),
                *("--job", job_id),
                *("--attempt", str(attempt)),
                *("--parent", str(os.getpid())),
                *("--phase-seconds", str(self._settings.phase_seconds)),
                *("--pace-seconds", str(self._settings.pace_seconds)),
                *("--snapshot-tokens", str(self._settings.snapshot_tokens)),
                *("--engine", self._settings.engine),
                *(("--models", str(self._settings.models_dir)) if self._settings.models_dir else ()),
            ],
            stdin=subprocess.DEVNULL,
            env=os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        )
        self._children[job_id] = _Child(process, attempt, training)
        _log.info("job %s: %s in process %d", job_id, "training" if training else "validating", process.pid)

    def _kill_fenced(self) -> None:
        for job_id, child in self._children.items():
            job = self._store.row("SELECT attempt FROM jobs WHERE id = ?", job_id)
            if job is not None and job["attempt"] != child.attempt and child.process.poll() is None:
                _log.info("job %s: was fenced from process %d", job_id, child.process.pid)
                child.process.kill()

    def _collect(self) -> None:
        for job_id, child in list(self._children.items()):
            code = child.process.poll()
            if code is None:
                continue
            del self._children[job_id]
            self._not_before.pop(job_id, None)
            if code == 0:
                _log.info("job %s: process %d ended", job_id, child.process.pid)
                continue
            _log.warning("job %s: process %d died (%d)", job_id, child.process.pid, code)
            self._not_before[job_id] = time.monotonic() + _BACKOFF_SECONDS
            if not jobs.record_crash(self._store, job_id, child.attempt):
                self._fail(job_id, child.attempt)

    def _fail(self, job_id: str, attempt: int) -> None:
        message = f"The training process died {jobs.MAX_CRASHES} times without a step in between."
        try:
            jobs.fail(self._store, job_id, attempt, code="server_error", message=message, param=None)
        except Fenced:
            _log.info("job %s: was already changed", job_id)
