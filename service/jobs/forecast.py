"""Where a waiting job stands and when it may start: the rule of the queue, played forward. One per API process.

The queue is read at most once a second however many ask (but for a job that has just begun to wait), and never in a
caller's own scope: what a project learns of the others is how many jobs go before its own.
"""

import asyncio
import datetime as dt
import time
from dataclasses import dataclass
from typing import NamedTuple

from service.catalogue.base_models import Catalogue
from service.database.engine import Database
from service.database.tables import Job
from service.jobs.queue import Place, predict
from service.jobs.schemas import QueueObject, WaitingFor
from service.jobs.waiting import Look, look, mean_seconds

KNOWN_SECONDS = 1.0
"""How long a look is good for. One at a very long queue is good for twice as long as it took."""

MOST_AHEAD = 20_000
UNKNOWN_SECONDS = 3600.0
"""What a job is taken to last where none has finished yet: it orders the ends, and no start is told by it."""

Means = dict[tuple[str, str], tuple[int, float]]


class _Mean(NamedTuple):
    jobs: int
    seconds: float
    of: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    look: Look
    places: dict[str, Place]
    means: Means
    good_until: float


class Forecast:
    """Keeps the last look at the queue."""

    def __init__(self, db: Database, catalogue: Catalogue) -> None:
        self._db = db
        self._catalogue = catalogue
        self._seen: _Seen | None = None
        self._reading: asyncio.Task[_Seen] | None = None

    async def of(self, job: Job) -> QueueObject | None:
        """A job's standing; None for one that does not wait for a slot, or for its files' reports."""
        if job.state == "validating":
            message = job.waiting_reason or "The files are being checked."
            return _without_place("file_check", message, "The job is queued when its files have been checked.")
        if job.state != "waiting":
            return None
        if job.pause_requested:
            return _without_place("paused", "Paused by the caller.", "The job is paused. Resume it.")
        seen = await self._look()
        if job.id not in seen.look.lines:  # it began to wait since
            seen = await self._look(fresh=True)
        return _standing(job, seen)

    async def _look(self, *, fresh: bool = False) -> _Seen:
        if self._reading is None:
            if self._seen is not None and not fresh and self._seen.good_until > time.monotonic():
                return self._seen
            self._reading = asyncio.create_task(self._read())
        reading = self._reading
        try:
            self._seen = await asyncio.shield(reading)
        finally:
            if reading.done() and self._reading is reading:
                self._reading = None
        return self._seen

    async def _read(self) -> _Seen:
        began = time.monotonic()
        async with self._db.worker() as session:
            means = await mean_seconds(session)

            def seconds(model: str, account_id: str) -> float:
                known = _known(means, model, account_id)
                return UNKNOWN_SECONDS if known is None else known.seconds

            seen = await look(
                session,
                catalogue=self._catalogue,
                today=dt.datetime.now(dt.UTC).date(),
                heads=None,
                ends_in_seconds=seconds,
            )
        places = await asyncio.to_thread(predict, seen.snapshot, seconds, most=MOST_AHEAD)
        now = time.monotonic()
        return _Seen(look=seen, places=places, means=means, good_until=now + max(KNOWN_SECONDS, 2 * (now - began)))


def _standing(job: Job, seen: _Seen) -> QueueObject:
    place = seen.places.get(job.id)
    reason, message = _why(job, seen)
    if place is None:
        return _without_place(reason, message, "The job has no place in the queue now.")
    start, estimate_reason = _start(job, place, seen)
    return QueueObject(
        reason=reason,
        message=message,
        place=place.overall,
        place_in_project=place.in_project,
        estimated_start=start,
        estimate_reason=estimate_reason,
    )


def _why(job: Job, seen: _Seen) -> tuple[WaitingFor, str]:
    snapshot, line = seen.look.snapshot, seen.look.lines.get(job.id)
    offer = seen.look.offers.get(line) if line is not None else None
    if offer is None:
        return "next", "The job has just begun to wait."
    if not offer.accounts:
        return ("account_held" if offer.waiting else "no_account"), offer.reason
    most = snapshot.project_limits.get(job.project_id)
    if most is not None and sum(each.project_id == job.project_id for each in snapshot.active) >= most:
        return "project_limit", f"The project runs {most} jobs, which is its limit."
    free = [
        account
        for account in offer.accounts
        if sum(each.account_id == account.id for each in snapshot.active) < account.max_active_jobs
    ]
    if free:
        return "next", "There is a free slot; the job's turn comes in a moment."
    slots = sum(account.max_active_jobs for account in offer.accounts)
    return "account_full", f"The upstream runs {slots} jobs, which is its limit; projects take turns at its free slots."


def _start(job: Job, place: Place, seen: _Seen) -> tuple[int | None, str]:
    known = _known(seen.means, job.model, place.account_id)
    if place.starts_at <= seen.look.snapshot.now:
        return int(place.starts_at), "A slot is free."
    if known is None:
        return None, "No job has finished at this upstream yet, so nothing is known of how long one takes."
    return int(place.starts_at), f"The last {known.jobs} {known.of} at this upstream took {known.seconds:,.0f} s each."


def _known(means: Means, model: str, account_id: str) -> _Mean | None:
    """How long a model's jobs take at an account, or if it has finished none there, how long all jobs do."""
    exact = means.get((model, account_id))
    if exact is not None:
        return _Mean(*exact, of=f"jobs for {model}")
    there = [mean for (_, account), mean in means.items() if account == account_id]
    count = sum(each for each, _ in there)
    return _Mean(count, sum(each * seconds for each, seconds in there) / count, of="jobs") if count else None


def _without_place(reason: WaitingFor, message: str, estimate_reason: str) -> QueueObject:
    return QueueObject(
        reason=reason,
        message=message,
        place=None,
        place_in_project=None,
        estimated_start=None,
        estimate_reason=estimate_reason,
    )
