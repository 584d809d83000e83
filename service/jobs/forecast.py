"""Forecasts a waiting job's place in the queue and its start, by simulating the queue's rule. One per API process.

The queue is read at most once a second for all requests, except for a job that has only just begun to wait. It is read
across projects and not in the caller's scope: a project sees only how many jobs precede its own.
"""

import asyncio
import datetime as dt
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from service.catalogue.base_models import Catalogue
from service.database.engine import Database
from service.database.tables import Job
from service.jobs.lifecycle import status_shown
from service.jobs.queries import JobRow
from service.jobs.queue import Place, predict
from service.jobs.summary import QueueObject, WaitingFor
from service.jobs.waiting import QueueReading, mean_seconds, read_queue
from service.states import ENDED

CACHE_SECONDS = 1.0
"""How long a reading of the queue is reused, at least."""

REUSED_TIMES = 10.0
"""A reading is reused for so many times the time that it took: lists need it all the time, and it costs CPU."""

FRESH_SECONDS = 0.2
"""A reading that takes longer is not repeated for a job that has just begun to wait."""

MAX_PLACES = 20_000
UNKNOWN_DURATION_SECONDS = 3600.0
"""The assumed duration of a job where none has finished yet. It only orders the simulated ends; no start is derived
from it."""

Means = dict[tuple[str, str], tuple[int, float]]
"""By (model, account): the number of finished jobs and their mean duration in seconds."""


class _Mean(NamedTuple):
    jobs: int
    seconds: float
    of: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Simulation:
    queue: QueueReading
    places: dict[str, Place]
    means: Means
    seconds: float
    valid_until: float


class Forecast:
    """Caches the last simulation of the queue."""

    def __init__(self, db: Database, catalogue: Catalogue) -> None:
        self._db = db
        self._catalogue = catalogue
        self._cached: _Simulation | None = None
        self._running: asyncio.Task[_Simulation] | None = None

    async def of(self, job: Job | JobRow) -> QueueObject | None:
        """Why the job waits, its place and its estimated start; None for a job that does not wait."""
        return (await self.of_all([job]))[job.id]

    async def of_all(self, jobs: Sequence[Job | JobRow]) -> dict[str, QueueObject | None]:
        """The same for each job, by id, from one reading of the queue."""
        queued = [job for job in jobs if _is_queued(job)]
        simulation = await self._simulation() if queued else None
        if simulation is not None and any(job.id not in simulation.queue.groups for job in queued):
            simulation = await self._simulation(fresh=simulation.seconds < FRESH_SECONDS)  # some began to wait since
        return {job.id: _waiting(job, simulation) for job in jobs}

    async def _simulation(self, *, fresh: bool = False) -> _Simulation:
        if self._running is None:
            if self._cached is not None and not fresh and self._cached.valid_until > time.monotonic():
                return self._cached
            self._running = asyncio.create_task(self._simulate())
        running = self._running
        try:
            self._cached = await asyncio.shield(running)
        finally:
            if running.done() and self._running is running:
                self._running = None
        return self._cached

    async def _simulate(self) -> _Simulation:
        began = time.monotonic()
        async with self._db.worker() as session:
            means = await mean_seconds(session)

            def seconds(model: str, account_id: str) -> float:
                known = _mean_duration(means, model, account_id)
                return UNKNOWN_DURATION_SECONDS if known is None else known.seconds

            queue = await read_queue(
                session,
                catalogue=self._catalogue,
                today=dt.datetime.now(dt.UTC).date(),
                heads=None,
                ends_in_seconds=seconds,
            )
        places = await asyncio.to_thread(predict, queue.snapshot, seconds, max_places=MAX_PLACES)
        now = time.monotonic()
        seconds_taken = now - began
        return _Simulation(
            queue=queue,
            places=places,
            means=means,
            seconds=seconds_taken,
            valid_until=now + max(CACHE_SECONDS, REUSED_TIMES * seconds_taken),
        )


def _is_queued(job: Job | JobRow) -> bool:
    """Whether the job has, or gets, a place in the queue."""
    return job.state == "waiting" and not job.pause_requested and job.cancel_requested_at is None


def _waiting(job: Job | JobRow, simulation: _Simulation | None) -> QueueObject | None:
    if job.state in ENDED or job.cancel_requested_at is not None:
        return None
    if job.state == "validating":
        message = job.waiting_reason or "The files are being checked."
        return _without_place("file_check", message, "The job is queued when its files have been checked.")
    if status_shown(job.state, job.upstream_status) != "queued":
        return None
    if job.pause_requested:
        return _without_place("paused", "Paused by the caller.", "The job is paused. Resume it.")
    if job.state == "running":
        return _at_upstream(job.upstream_queue_place)
    if job.state == "waiting" and simulation is not None:
        return _queue_object(job, simulation)
    if job.waiting_reason is None:
        return None
    return _without_place("sending", job.waiting_reason, "The job has a slot, and is sent as soon as that is possible.")


def _queue_object(job: Job | JobRow, simulation: _Simulation) -> QueueObject:
    place = simulation.places.get(job.id)
    reason, message = _why(job, simulation)
    if place is None:
        return _without_place(reason, message, "The job has no place in the queue now.")
    start, estimate_reason = _start(job, place, simulation)
    return QueueObject(
        reason=reason,
        message=message,
        place=place.overall,
        place_in_project=place.in_project,
        estimated_start=start,
        estimate_reason=estimate_reason,
    )


def _why(job: Job | JobRow, simulation: _Simulation) -> tuple[WaitingFor, str]:
    snapshot, group = simulation.queue.snapshot, simulation.queue.groups.get(job.id)
    offer = simulation.queue.offers.get(group) if group is not None else None
    if offer is None:
        return "next", "The job has just begun to wait."
    if not offer.accounts:
        return ("account_held" if offer.waiting else "no_account"), offer.reason
    max_active = snapshot.project_limits.get(job.project_id)
    if max_active is not None and sum(each.project_id == job.project_id for each in snapshot.active) >= max_active:
        return "project_limit", f"The project runs {max_active} jobs, which is its limit."
    free = [
        account
        for account in offer.accounts
        if sum(each.account_id == account.id for each in snapshot.active) < account.max_active_jobs
    ]
    if free:
        return "next", "There is a free slot; the job is admitted in a moment."
    slots = sum(account.max_active_jobs for account in offer.accounts)
    return (
        "account_full",
        f"The upstream runs {slots} jobs, which is its limit; its free slots are shared fairly between projects.",
    )


def _start(job: Job | JobRow, place: Place, simulation: _Simulation) -> tuple[int | None, str]:
    known = _mean_duration(simulation.means, job.model, place.account_id)
    if place.starts_at <= simulation.queue.snapshot.now:
        return int(place.starts_at), "A slot is free."
    if known is None:
        return None, "No job has finished at this upstream yet, so the duration of one is unknown."
    return int(place.starts_at), f"The last {known.jobs} {known.of} at this upstream took {known.seconds:,.0f} s each."


def _mean_duration(means: Means, model: str, account_id: str) -> _Mean | None:
    """The mean duration of the model's jobs at the account; of all jobs there if none of the model has finished."""
    exact = means.get((model, account_id))
    if exact is not None:
        return _Mean(*exact, of=f"jobs for {model}")
    there = [mean for (_, account), mean in means.items() if account == account_id]
    count = sum(each for each, _ in there)
    return _Mean(count, sum(each * seconds for each, seconds in there) / count, of="jobs") if count else None


def _at_upstream(place: int | None) -> QueueObject:
    if place is None:
        message = "The job is at the upstream, which has not started it yet and reports no place in its queue."
        return _without_place("upstream_queue", message, "The upstream reports neither a place nor a start.")
    which = "is next" if place == 1 else f"has place {place}"
    return QueueObject(
        reason="upstream_queue",
        message=f"The job {which} in the upstream's queue: the upstream starts it when it has room for it.",
        place=place,
        place_in_project=None,
        estimated_start=None,
        estimate_reason="The upstream reports the place and no start.",
    )


def _without_place(reason: WaitingFor, message: str, estimate_reason: str) -> QueueObject:
    return QueueObject(
        reason=reason,
        message=message,
        place=None,
        place_in_project=None,
        estimated_start=None,
        estimate_reason=estimate_reason,
    )
