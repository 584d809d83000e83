"""Starts a process for each phase of each job, and another when one dies.

It reads the rows every tenth of a second, and a launcher runs the processes: so a restarted server continues where the
last one was killed.
"""

import logging
import sqlite3
import threading
import time
from dataclasses import dataclass, field

from . import jobs
from .attempts import AttemptTokens
from .engines.port import Fenced
from .instructions import environment_of
from .launchers.port import Launch, Launcher, Outcome
from .leftovers import remove_leftovers
from .recording import fail
from .reports import Failed
from .settings import Settings
from .storage import Storage
from .store import Store

CHECK_SECONDS = 0.1
METER_SECONDS = 1.0
_MAX_VALIDATIONS = 2
_BACKOFF_SECONDS = 0.2
_MAX_BACKOFF_SECONDS = 30.0
_START_AGAIN_SECONDS = 2.0
_MAX_SILENT_WAIT_SECONDS = 8.0
"""A cluster needs seconds to place any process; a longer wait becomes an event."""
_log = logging.getLogger("trainer")


@dataclass(slots=True)
class _Attempt:
    job_id: str
    number: int
    training: bool
    runs: bool = True
    """False while a cluster has no place for its process."""
    stopped: bool = False
    polled: float = 0.0
    began: float = field(default_factory=time.monotonic)

    @property
    def name(self) -> str:
        return f"{self.job_id}-{self.number}"


class Supervisor:
    """Owns the attempts of one server; `run` is the body of a thread, the only one that calls the launcher.

    `server_url` is the address at which training processes reach this server.
    """

    def __init__(
        self,
        store: Store,
        storage: Storage,
        settings: Settings,
        launcher: Launcher,
        tokens: AttemptTokens,
        *,
        server_url: str,
    ) -> None:
        self._store, self._storage, self._settings = store, storage, settings
        self._launcher, self._tokens, self._server_url = launcher, tokens, server_url
        self._attempts: dict[str, _Attempt] = {}
        self._not_before: dict[str, float] = {}
        self._places: dict[str, int] = {}
        self._metered = 0.0
        self._adopted = not launcher.survives_restart

    def run(self, stopping: threading.Event) -> None:
        """Check attempts and jobs until `stopping` is set, then release the launcher; the next server resumes jobs."""
        while not stopping.wait(CHECK_SECONDS):
            try:
                self.check()
            except OSError as error:  # the cluster is unavailable, or the disk
                _log.warning("supervisor: trying again in %.0f s: %s", _START_AGAIN_SECONDS, error)
                stopping.wait(_START_AGAIN_SECONDS)
            except sqlite3.OperationalError:
                _log.exception("supervisor: trying again")
        self._launcher.close()

    def check(self) -> None:
        """Collect attempts that ended and start those that are due."""
        if not self._adopted:
            self._adopt()
        self._meter()
        for attempt in list(self._attempts.values()):
            self._check_attempt(attempt)
        self._start_due()

    def _adopt(self) -> None:
        """Find the attempts that outlived an earlier server."""
        for job in self._store.rows("SELECT * FROM jobs WHERE status IN ('validating_files', 'running')"):
            attempt = _Attempt(job["id"], job["attempt"], job["status"] == "running")
            outcome = self._launcher.poll(attempt.name)
            if outcome.state != "gone":
                _log.info("%s: found again", attempt.name)
                attempt.runs = not outcome.reason
                self._attempts[job["id"]] = attempt
        self._adopted = True

    def _meter(self) -> None:
        if self._attempts and time.monotonic() >= self._metered + METER_SECONDS:
            jobs.meter(self._store, {attempt.job_id: attempt.runs for attempt in self._attempts.values()})
            self._metered = time.monotonic()

    def _check_attempt(self, attempt: _Attempt) -> None:
        job = self._store.row("SELECT attempt FROM jobs WHERE id = ?", attempt.job_id)
        fenced = job is not None and job["attempt"] != attempt.number
        due = time.monotonic() >= attempt.polled + self._launcher.poll_seconds
        if fenced and (due or not attempt.stopped):
            self._launcher.stop(attempt.name)
            attempt.stopped = True
        if not due:
            return
        attempt.polled = time.monotonic()
        outcome = self._launcher.poll(attempt.name)
        if outcome.state == "running":
            self._note_running(attempt, outcome.reason)
            return
        jobs.meter(self._store, {attempt.job_id: attempt.runs})
        self._collect(attempt, outcome)
        del self._attempts[attempt.job_id]
        remove_leftovers(self._store, self._storage, attempt.job_id)

    def _note_running(self, attempt: _Attempt, waits_for: str) -> None:
        if attempt.runs == bool(waits_for):
            jobs.meter(self._store, {attempt.job_id: attempt.runs})
            attempt.runs = not waits_for
        if waits_for and time.monotonic() > attempt.began + _MAX_SILENT_WAIT_SECONDS:
            jobs.record_wait(self._store, attempt.job_id, attempt.number, waits_for)

    def _collect(self, attempt: _Attempt, outcome: Outcome) -> None:
        """Note how an attempt ended. One that still owns its job has died, whatever it says."""
        if outcome.state == "gone":
            _log.warning("%s: is gone %s", attempt.name, outcome.reason)
            self._not_before[attempt.job_id] = time.monotonic() + _START_AGAIN_SECONDS
            return
        crashes = jobs.record_crash(self._store, attempt.job_id, attempt.number)
        if crashes is None:
            _log.info("%s: ended", attempt.name)
            self._not_before.pop(attempt.job_id, None)
            return
        reason = outcome.reason or "it ended without a report"
        _log.warning("%s: died (%s) %s", attempt.name, reason, self._launcher.logs(attempt.name))
        backoff = min(_BACKOFF_SECONDS * 2 ** (crashes - 1), _MAX_BACKOFF_SECONDS)
        self._not_before[attempt.job_id] = time.monotonic() + backoff
        if crashes >= jobs.MAX_CRASHES:
            self._fail(attempt, reason)

    def _start_due(self) -> None:
        """Start jobs in the order in which they came, each in a slot; one that crashed waits in its own."""
        free = {True: self._settings.slots, False: _MAX_VALIDATIONS}
        for attempt in self._attempts.values():
            free[attempt.training] -= 1
        live = self._store.rows(
            "SELECT id, seq, status, entered_at FROM jobs WHERE status IN ('validating_files', 'queued', 'running')"
            " ORDER BY status = 'queued', seq"
        )
        place = 0
        for job in live:
            training = job["status"] != "validating_files"
            if job["id"] in self._attempts:
                continue
            free[training] -= 1
            if free[training] >= 0 and not self._waits(job):
                self._start(job["id"], training=training)
                continue
            place += job["status"] == "queued"
            if job["status"] == "queued" and free[training] < 0:
                self._note_place(job["id"], place)

    def _waits(self, job: sqlite3.Row) -> bool:
        if time.monotonic() < self._not_before.get(job["id"], 0):
            return True
        return bool(job["status"] == "queued" and time.time() < job["entered_at"] + self._settings.phase_seconds)

    def _note_place(self, job_id: str, place: int) -> None:
        if self._places.get(job_id) != place:
            jobs.record_place(self._store, job_id, place)
            self._places[job_id] = place

    def _start(self, job_id: str, *, training: bool) -> None:
        gpus = self._settings.gpus_per_job if training else 0
        number = jobs.claim(self._store, job_id, training=training, gpus=gpus)
        if number is None:
            return
        attempt = _Attempt(job_id, number, training)
        environment = environment_of(
            self._settings,
            server_url=self._server_url,
            job_id=job_id,
            attempt=number,
            token=self._tokens.token(job_id, number),
            validating=not training,
        )
        launch = Launch(name=attempt.name, environment=environment, gpus=gpus, validating=not training)
        self._places.pop(job_id, None)
        try:
            self._launcher.start(launch)
        except OSError as error:
            _log.error("%s: could not be started: %s", attempt.name, error)
            self._not_before[job_id] = time.monotonic() + _START_AGAIN_SECONDS
            return
        self._attempts[job_id] = attempt

    def _fail(self, attempt: _Attempt, reason: str) -> None:
        message = (
            f"The training process died {jobs.MAX_CRASHES} times without a step in between; the last time: {reason}."
            f" {_advice(reason)}"
        )
        try:
            failed = Failed(code="server_error", message=message, param=None)
            fail(self._store, attempt.job_id, attempt.number, failed)
        except Fenced:
            _log.info("%s: its job was already changed", attempt.name)


def _advice(reason: str) -> str:
    if reason.endswith("signal 9"):
        return "That is usually too little memory of the machine: take a smaller model or adapter, or shorter rows."
    return "The trainer's log has the cause, such as a full disk: put it right, and create the job again."
