"""`python -m benchmarks.polling`: requests a minute and staleness of polling, by lists and by one request a job.

A simulation: the rules are the workers' own (`service/upstreams/poll_schedule.py`, `workers/jobs/list_sweep.py`); the
upstream, the clock, the jobs' rows and the poll limiter's moment are in this process. An account has a constant number
of active jobs: each waits upstream for up to ten minutes, trains for one to five hours, writes metrics every minute and
a message at its start and after each third, and is replaced by another when it ends. One job in fifty is viewed all the
time. Lists contain the ended jobs too, newest first. Staleness is the time from a change upstream (a start, an end) until
the job's row has it. Takes a minute.
"""

from __future__ import annotations

import argparse
import datetime as dt
import heapq
import itertools
import random
from collections import Counter
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, field

from service.upstreams import poll_schedule
from service.upstreams.poll_schedule import Load
from service.upstreams.port import UpstreamJob
from workers.jobs.list_sweep import CLOCK_SKEW, RunningJob, Sweep, load_of_jobs, needs_list
from workers.jobs.poll import DEFERRAL_SPREAD

BASE_SECONDS = 15.0
HOURS = 3600.0
MAX_QUEUED_SECONDS, MIN_TRAINING_SECONDS, MAX_TRAINING_SECONDS = 600.0, 1 * HOURS, 5 * HOURS
MEAN_LIFE_SECONDS = (MAX_QUEUED_SECONDS + MIN_TRAINING_SECONDS + MAX_TRAINING_SECONDS) / 2
METRICS_SECONDS = 60.0
REQUEST_SECONDS, CLAIM_SECONDS = 0.3, 1.0
VIEWED_SHARE = 0.02
WARM_SECONDS = 1.5 * HOURS
MIN_HOURS, MAX_HOURS, JOB_HOURS = 1.0, 200.0, 2000.0
"""The measured time: this many hours of all jobs together, within bounds."""

SETTLEMENT_REQUESTS = 4
"""Requests of a settlement: the job, its events, its checkpoints, its result file."""


@dataclass(slots=True)
class Simulated:
    """An upstream job, and what the job's row has of it."""

    id: str
    created: float
    starts: float
    ends: float
    viewed: bool
    due: float = 0.0
    snapshot: str | None = poll_schedule.NEW_JOB_SNAPSHOT
    polled_at: float | None = None
    updated_at: float = 0.0
    unseen: list[float] = field(default_factory=list)

    def status(self, now: float) -> str:
        """The upstream's status."""
        return "queued" if now < self.starts else "running" if now < self.ends else "succeeded"

    def shown(self, now: float) -> UpstreamJob:
        """As the upstream shows it: the estimate is made at the start and improves at each quarter."""
        done = (now - self.starts) / (self.ends - self.starts)
        wrong = (0.2, 0.1, -0.05, 0.02)[min(int(done * 4), 3)] if done >= 0 else 0.0
        return UpstreamJob(
            id=self.id,
            status=self.status(now),
            created_at=int(self.created) + EPOCH,
            metadata={},
            fine_tuned_model=None,
            trained_tokens=5 if now >= self.ends else None,
            estimated_finish=int(self.ends + wrong * (self.ends - self.starts)) if 0 <= done < 1 else None,
            result_files=[],
            error_code=None,
            error_message=None,
            error_param=None,
            finished_at=int(self.ends) if now >= self.ends else None,
        )

    def has_new_message(self, now: float) -> bool:
        """Whether the upstream has written a message, and not only metrics, since the events were fetched."""
        third = (self.ends - self.starts) / 3
        since = -1.0 if self.polled_at is None else self.polled_at
        return any(since < self.starts + number * third <= now for number in range(3))

    @property
    def since(self) -> float:
        """When the row became what it is: its start if that is known, otherwise its creation."""
        return self.starts if self.snapshot is not None and self.snapshot.startswith("running") else self.created


EPOCH = 1_800_000_000
"""The Unix time at which the simulation's clock is 0."""


class Limiter:
    """The poll limiter on a simulated clock: `workers/jobs/poll_limiter.py` keeps the same moment in a row."""

    def __init__(self, per_minute: float) -> None:
        self.per_minute, self.spent = per_minute, 0.0

    def take(self, now: float, requests: int, *, may_exceed: bool = False) -> float:
        """Seconds to wait; 0.0: counted."""
        spent = max(self.spent, now) + poll_schedule.cost_seconds(requests, per_minute=self.per_minute)
        wait = spent - now - poll_schedule.burst_seconds(requests, per_minute=self.per_minute)
        if wait > 0 and not may_exceed:
            return max(wait, poll_schedule.cost_seconds(1, per_minute=self.per_minute))
        self.spent = spent
        return 0.0


class World:
    """One account with `count` active jobs, polled by lists, or each job by itself (`alone`)."""

    def __init__(self, count: int, *, per_minute: float | None, alone: bool, seed: int = 1) -> None:
        self.random = random.Random(seed)
        self.alone, self.bounded = alone, per_minute is not None
        self.per_minute = per_minute or 1e9
        self.limiter = Limiter(self.per_minute)
        self.load = Load(listing=False, active=count, recently_viewed=0, per_minute=self.per_minute)
        self.numbers, self.ties = itertools.count(), itertools.count()
        self.active: dict[str, Simulated] = {}
        self.listed: list[Simulated] = []
        self.heap: list[tuple[float, int, Simulated | None]] = []
        self.outcome = Outcome(seconds=min(max(JOB_HOURS / count, MIN_HOURS), MAX_HOURS) * HOURS)
        self.measuring = False
        self._fill(count)
        if not alone:
            heapq.heappush(self.heap, (0.0, next(self.ties), None))

    def run(self) -> Outcome:
        """Simulate the warm-up and the measured time."""
        end = WARM_SECONDS + self.outcome.seconds
        lister = self.lister()
        next(lister)
        while self.heap:
            now, _, job = heapq.heappop(self.heap)
            self.measuring = now >= WARM_SECONDS
            if now > end:
                break
            if job is None:
                heapq.heappush(self.heap, (lister.send(now), next(self.ties), None))
            elif job.due == now and job.id in self.active:
                self.poll(job, now)
        self.outcome.stale += [end - moment for job in self.active.values() for moment in job.unseen if moment <= end]
        self.outcome.jobs = len(self.active)
        return self.outcome

    def _fill(self, count: int) -> None:
        """The jobs of the last hours, as an account has them that has always run so many: most of them have ended."""
        rate = count / MEAN_LIFE_SECONDS
        longest = MAX_QUEUED_SECONDS + MAX_TRAINING_SECONDS
        for created in sorted(-self.random.uniform(0, longest) for _ in range(int(rate * longest))):
            self.new_job(created)
        while len(self.active) > count:
            self.active.popitem()
        while len(self.active) < count:
            self.new_job(0.0)

    def new_job(self, created: float) -> None:
        """A job that the upstream has created."""
        starts = created + self.random.uniform(0, MAX_QUEUED_SECONDS)
        job = Simulated(
            id=f"ftjob-{next(self.numbers)}",
            created=created,
            starts=starts,
            ends=starts + self.random.uniform(MIN_TRAINING_SECONDS, MAX_TRAINING_SECONDS),
            viewed=self.random.random() < VIEWED_SHARE,
        )
        self.listed.append(job)
        if job.ends <= 0:
            return
        job.unseen = [moment for moment in (job.starts, job.ends) if moment > 0]
        self.active[job.id] = job
        self.wake(job, max(created, 0.0) + self.random.uniform(0, BASE_SECONDS if created < 0 else CLAIM_SECONDS))

    def wake(self, job: Simulated, at: float) -> None:
        """Make a job due."""
        job.due = at
        heapq.heappush(self.heap, (at, next(self.ties), job))

    def spend(self, kind: str, requests: int) -> None:
        """Count requests of a kind."""
        self.outcome.requests[kind] += requests if self.measuring else 0

    def poll(self, job: Simulated, now: float) -> None:
        """One step of a running job, as `workers/jobs/poll.py`."""
        polled = job.polled_at is not None
        if poll_schedule.is_left_to_lists(
            polled=polled, recently_viewed=job.viewed, request_pending=False, load=self.load
        ):
            job.polled_at = now
            self.wake(job, now + self._next_seconds(job, 0.0, None))
            return
        if self.bounded and (wait := self.limiter.take(now, poll_schedule.REQUESTS_PER_POLL)) > 0:
            self.wake(job, now + wait + self.random.uniform(0, DEFERRAL_SPREAD * BASE_SECONDS))
            return
        known = now + self.random.uniform(0, CLAIM_SECONDS) + REQUEST_SECONDS
        shown = job.shown(known)
        ended = shown.status == "succeeded"
        kind = "viewed" if job.viewed else "others"
        if not (ended and self.load.listing):
            self.spend(kind, poll_schedule.REQUESTS_PER_POLL)
            if job.has_new_message(known) or ended:
                self.limiter.take(known, 1, may_exceed=True)
                self.spend(kind, 1)
            self.outcome.polls[kind] += self.measuring
        else:
            self.spend(kind, 1)
        self.record(job, shown, known)
        job.polled_at = known
        if job.id in self.active:
            left = shown.estimated_finish - known if shown.estimated_finish else None
            self.wake(job, known + self._next_seconds(job, known - job.since, left))

    def record(self, job: Simulated, shown: UpstreamJob, now: float) -> None:
        """Write what the upstream shows into the job's row. A job that has ended is replaced."""
        if self.measuring:
            self.outcome.stale += [now - moment for moment in job.unseen if moment <= now]
        job.unseen = [moment for moment in job.unseen if moment > now]
        job.snapshot, job.updated_at = poll_schedule.snapshot_of(shown), now
        if shown.status == "succeeded":
            del self.active[job.id]
            self.outcome.ended += self.measuring
            self.new_job(now)

    def _next_seconds(self, job: Simulated, age: float, left: float | None) -> float:
        if self.alone:
            if not self.bounded:
                return BASE_SECONDS
            return poll_schedule.spread_seconds(BASE_SECONDS, active=len(self.active), per_minute=self.per_minute)
        return poll_schedule.next_poll_seconds(
            BASE_SECONDS,
            age_seconds=age,
            left_seconds=left,
            recently_viewed=job.viewed,
            request_pending=False,
            load=self.load,
        )

    def lister(self) -> Generator[float, float, None]:
        """Steps of the account poll, as `workers/jobs/account_poller.py`: yields when it continues, is sent the time."""
        now = yield 0.0
        while True:
            now = yield now + self.random.uniform(0, CLAIM_SECONDS)
            began = now
            jobs = [self.row(job, now) for job in self.active.values()]
            self.load = load_of_jobs(jobs, per_minute=self.per_minute)
            if not needs_list(jobs, self.load, BASE_SECONDS):
                now = yield now + BASE_SECONDS
                continue
            sweep = Sweep(jobs, self.load, seconds=self._list_seconds(-(-len(jobs) // poll_schedule.PAGE)))
            pages = 0
            for page, after in self._pages():
                self.limiter.take(now, 1, may_exceed=True)
                self.spend("lists", 1)
                requested = now
                pages, now = pages + 1, (yield now + REQUEST_SECONDS)
                shown = [job.shown(now) for job in page]
                found = sweep.read(shown, now=now)
                for job_id, upstream_job in found.updates.items():
                    job = self.active.get(job_id)
                    if job is not None and (job.polled_at is None or job.polled_at < requested):
                        self.record(job, upstream_job, now)
                is_complete = sweep.is_complete(shown, after)
                for each in [*found.to_poll, *(sweep.left_to_poll() if is_complete else [])]:
                    if each.id in self.active:
                        self.wake(self.active[each.id], now)
                if is_complete:
                    break
            now = yield max(now, began + self._list_seconds(pages))

    def _list_seconds(self, pages: int) -> float:
        return poll_schedule.list_seconds(BASE_SECONDS, pages=pages, per_minute=self.per_minute)

    def _pages(self) -> Iterable[tuple[list[Simulated], str | None]]:
        """The list's pages, newest first, each with the cursor of the next one."""
        oldest = min(job.created for job in self.active.values()) - CLOCK_SKEW.total_seconds()
        self.listed = [job for job in self.listed if job.created >= oldest]
        jobs = self.listed[::-1]
        for start in range(0, len(jobs), poll_schedule.PAGE):
            page = jobs[start : start + poll_schedule.PAGE]
            yield page, page[-1].id if start + poll_schedule.PAGE < len(jobs) else None

    def row(self, job: Simulated, now: float) -> RunningJob:
        """The row as the account poller reads it."""
        return RunningJob(
            id=job.id,
            upstream_id=job.id,
            snapshot=job.snapshot,
            since=dt.datetime.fromtimestamp(EPOCH + job.created, dt.UTC),
            age_seconds=now - job.since,
            left_seconds=None,
            polled_seconds_ago=None if job.polled_at is None else now - job.polled_at,
            details_pending=job.polled_at is not None and job.updated_at > job.polled_at,
            due=job.due <= now,
            failures=0,
            recently_viewed=job.viewed,
        )


@dataclass(slots=True)
class Outcome:
    """What a run came to: requests by kind, polls with events by kind, and the staleness of each change."""

    seconds: float
    jobs: int = 0
    ended: int = 0
    requests: Counter[str] = field(default_factory=Counter)
    polls: Counter[str] = field(default_factory=Counter)
    stale: list[float] = field(default_factory=list)

    def row(self) -> str:
        """The table's columns."""
        minutes = self.seconds / 60
        stale = sorted(self.stale)
        mean = sum(stale) / max(len(stale), 1)
        p99 = stale[int(0.99 * (len(stale) - 1))] if stale else 0.0
        kinds = " + ".join(f"{self.requests[kind] / minutes:,.0f}" for kind in ("lists", "viewed", "others"))
        events = "; ".join(
            f"{share * self.jobs * minutes / max(self.polls[kind], 1):,.1f} min"
            for kind, share in (("viewed", VIEWED_SHARE), ("others", 1 - VIEWED_SHARE))
        )
        return (
            f"{sum(self.requests.values()) / minutes:,.0f} | {kinds} | {mean:,.1f} s | {p99:,.1f} s | {events} | "
            f"{len(stale):,} | {SETTLEMENT_REQUESTS * self.ended / minutes:,.0f}"
        )


def main(arguments: Sequence[str] = ()) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks polling", description=__doc__)
    parser.add_argument("--jobs", type=int, nargs="*", default=[10, 1_000, 10_000])
    parser.add_argument("--limit", type=float, nargs="*", default=[300.0, 600.0, 1200.0])
    wanted = parser.parse_args(list(arguments))
    print(
        "| active jobs | polled by | requests a minute | lists + viewed + others | stale: mean | p99 | "
        "events fetched every: viewed; others | changes | settlements, requests a minute |\n|" + "---|" * 9
    )
    for count in wanted.jobs:
        ways: list[tuple[str, float | None, bool]] = [("one request a job, no limit", None, True)]
        for limit in wanted.limit:
            ways.append((f"one request a job, within {limit:,.0f}", limit, True))
            ways.append((f"lists, within {limit:,.0f}", limit, False))
        for name, per_minute, alone in ways:
            if per_minute is None and count > 1000:  # its arithmetic needs no simulation
                each = count * poll_schedule.REQUESTS_PER_POLL * 60 / BASE_SECONDS
                print(f"| {count:,} | {name} | {each:,.0f} | | {BASE_SECONDS / 2:.1f} s | {BASE_SECONDS:.1f} s | | | |")
                continue
            outcome = World(count, per_minute=per_minute, alone=alone).run()
            print(f"| {count:,} | {name} | {outcome.row()} |", flush=True)
    return 0


if __name__ == "__main__":
    import sys

    raise SystemExit(main(sys.argv[1:]))
