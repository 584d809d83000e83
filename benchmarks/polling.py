"""`python -m benchmarks.polling`: requests a minute and staleness of polling, by lists and by one request a job.

A simulation: the rules are those of the workers (`service/upstreams/poll_schedule.py`, `workers.jobs.account_poller.updates_in_page`); the upstream,
the clock and the poll limiter are in this process. An account has a constant number of active jobs: each waits upstream
for up to ten minutes, trains for one to five hours, and is replaced by another. One job in fifty is recently viewed.
Staleness is the time from a change upstream (a start, an end) until the job's row has it. Takes a few minutes.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import random
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import Any

from service.upstreams import poll_schedule
from service.upstreams.poll_schedule import Load
from service.upstreams.port import UpstreamJob
from workers.jobs.account_poller import CLOCK_SKEW, RunningJob, updates_in_page

BASE_SECONDS = 15.0
HOURS = 3600.0
REQUEST_SECONDS, CLAIM_SECONDS = 0.3, 1.0
VIEWED_SHARE = 0.02
WARM_SECONDS = 1.5 * HOURS
MIN_HOURS, MAX_HOURS, JOB_HOURS = 0.5, 200.0, 2000.0
"""The measured time: this many hours of all jobs together, within bounds."""


@dataclass(slots=True)
class Simulated:
    """An upstream job, and what the job's row has of it."""

    id: str
    created: float
    starts: float
    ends: float
    viewed: bool
    due: float = 0.0
    snapshot: str | None = None
    polled_at: float | None = None
    estimates: int = 0
    unseen: list[float] = field(default_factory=list)

    def status(self, now: float) -> str:
        return "queued" if now < self.starts else "running" if now < self.ends else "succeeded"

    def shown(self, now: float) -> UpstreamJob:
        """As the upstream shows it: the estimate is made at the start and improves at each quarter."""
        done = (now - self.starts) / (self.ends - self.starts)
        wrong = (0.2, 0.1, -0.05, 0.02)[min(int(done * 4), 3)] if done >= 0 else 0.0
        return UpstreamJob(
            id=self.id,
            status=self.status(now),
            created_at=int(self.created),
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


class Books:
    """The budget, as in `workers/jobs/poll_limiter.py`, on a simulated clock."""

    def __init__(self, per_minute: float) -> None:
        self.each, self.spent = 60 / per_minute, 0.0

    def take(self, now: float, requests: int, *, borrow: bool = False) -> float:
        """Seconds to wait; 0.0: booked."""
        spent = max(self.spent, now) + self.each * requests
        wait = spent - now - max(poll_schedule.BURST_SECONDS, self.each * requests)
        if wait > 0 and not borrow:
            return max(wait, self.each)
        self.spent = spent
        return 0.0


class World:
    """One account with `count` active jobs, polled by lists, or each job by itself (`alone`)."""

    def __init__(self, count: int, *, per_minute: float | None, alone: bool, seed: int = 1) -> None:
        self.random = random.Random(seed)
        self.alone, self.bounded = alone, per_minute is not None
        self.per_minute = per_minute or 1e9
        self.books = Books(self.per_minute)
        self.load = Load(listing=False, active=count, recently_viewed=0, per_minute=self.per_minute)
        self.numbers, self.ties = itertools.count(), itertools.count()
        self.active: dict[str, Simulated] = {}
        self.listed: list[Simulated] = []
        self.heap: list[tuple[float, int, Simulated | None]] = []
        self.requests = 0
        self.stale: list[float] = []
        self.measured_seconds = min(max(JOB_HOURS / count, MIN_HOURS), MAX_HOURS) * HOURS
        self.measuring = False
        for _ in range(count):
            life = self.random.uniform(1, 5) * HOURS
            self.new_job(-self.random.uniform(0, life))
        self.listed.sort(key=lambda job: job.created)
        if not alone:
            heapq.heappush(self.heap, (0.0, next(self.ties), None))

    def new_job(self, created: float) -> None:
        starts = created + self.random.uniform(0, 600)
        job = Simulated(
            id=f"ftjob-{next(self.numbers)}",
            created=created,
            starts=starts,
            ends=starts + self.random.uniform(1, 5) * HOURS,
            viewed=self.random.random() < VIEWED_SHARE,
        )
        job.unseen = [moment for moment in (job.starts, job.ends) if moment > 0]
        self.active[job.id] = job
        self.listed.append(job)
        self.wake(job, max(created, 0.0) + self.random.uniform(0, BASE_SECONDS if created < 0 else 1))

    def wake(self, job: Simulated, at: float) -> None:
        job.due = at
        heapq.heappush(self.heap, (at, next(self.ties), job))

    def spend(self, requests: int) -> None:
        self.requests += requests if self.measuring else 0

    def poll(self, job: Simulated, now: float) -> None:
        if self.load.listing and job.polled_at is None and not job.viewed and job.snapshot is None:
            job.snapshot = poll_schedule.NEW_JOB_SNAPSHOT
            self.wake(job, now + poll_schedule.SAFETY_SECONDS * 10)
            return
        if self.bounded and (wait := self.books.take(now, poll_schedule.REQUESTS_PER_POLL)) > 0:
            self.wake(job, now + wait + self.random.uniform(0, 2 * BASE_SECONDS))
            return
        known = now + self.random.uniform(0, CLAIM_SECONDS) + REQUEST_SECONDS
        shown = job.shown(known)
        ended = shown.status == "succeeded"
        self.spend(1 if ended and self.load.listing else poll_schedule.REQUESTS_PER_POLL)
        if self.measuring:
            self.stale += [known - moment for moment in job.unseen if moment <= known]
        job.unseen = [moment for moment in job.unseen if moment > known]
        job.snapshot, job.polled_at = poll_schedule.snapshot_of(shown), known
        if ended:
            del self.active[job.id]
            self.new_job(known)
            return
        left = shown.estimated_finish - known if shown.estimated_finish else None
        since = job.starts if known >= job.starts else job.created
        seconds = BASE_SECONDS
        if self.alone and self.bounded:
            seconds = poll_schedule.spread_seconds(BASE_SECONDS, active=len(self.active), per_minute=self.per_minute)
        elif not self.alone:
            seconds = poll_schedule.next_poll_seconds(
                BASE_SECONDS,
                age_seconds=known - since,
                left_seconds=left,
                recently_viewed=job.viewed,
                request_pending=False,
                load=self.load,
            )
        self.wake(job, known + seconds)

    def lister(self) -> Generator[float, float, None]:
        """Steps of the account poll, a page at a time: yields the time at which it continues, and is sent the time then."""
        now = yield 0.0
        while True:
            few = len(self.active) <= poll_schedule.MAX_POLLED_SINGLY
            viewed = sum(job.viewed for job in self.active.values())
            self.load = Load(
                listing=not few, active=len(self.active), recently_viewed=viewed, per_minute=self.per_minute
            )
            if few and not any(self.rests(job, now) for job in self.active.values()):
                now = yield now + BASE_SECONDS
                continue
            rows = {job.id: self.row(job, now) for job in self.active.values()}
            oldest = min(job.created for job in self.active.values()) - CLOCK_SKEW.total_seconds()
            self.listed = [job for job in self.listed if job.created >= oldest]
            seconds = poll_schedule.list_seconds(
                BASE_SECONDS, pages=-(-len(rows) // poll_schedule.PAGE), per_minute=self.per_minute
            )
            left = poll_schedule.polls_until_next_list(seconds, per_minute=self.per_minute)
            left -= sum(row.due for row in rows.values())
            later: list[RunningJob] = []
            newest_first, pages = self.listed[::-1], 0
            for start in range(0, len(newest_first), poll_schedule.PAGE):
                self.books.take(now, 1, borrow=True)
                self.spend(1)
                pages, now = pages + 1, (yield now + REQUEST_SECONDS)
                page = newest_first[start : start + poll_schedule.PAGE]
                fresh, progress = updates_in_page([job.shown(now) for job in page if job.id in rows], rows, now=now)
                later += progress
                left -= self.wake_all(fresh[: max(left, 0)], now)
                for job in page:
                    rows.pop(job.id, None)
                if not rows:
                    break
            self.wake_all(later[: max(left, 0)], now)
            now = yield now + poll_schedule.list_seconds(BASE_SECONDS, pages=pages, per_minute=self.per_minute)

    def wake_all(self, rows: Sequence[RunningJob], now: float) -> int:
        for row in rows:
            if row.id in self.active:
                self.wake(self.active[row.id], now)
        return len(rows)

    def rests(self, job: Simulated, now: float) -> bool:
        since = job.starts if now >= job.starts else job.created
        return poll_schedule.poll_seconds(BASE_SECONDS, age_seconds=now - since, left_seconds=None) > BASE_SECONDS

    def row(self, job: Simulated, now: float) -> RunningJob:
        return RunningJob(
            id=job.id, upstream_id=job.id, snapshot=job.snapshot, since=SINCE, age_seconds=0, left_seconds=None,
            polled_seconds_ago=None if job.polled_at is None else now - job.polled_at, due=job.due <= now, failures=0,
            recently_viewed=job.viewed,
        )  # fmt: skip

    def run(self) -> Outcome:
        end = WARM_SECONDS + self.measured_seconds
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
        late = [end - moment for job in self.active.values() for moment in job.unseen if moment <= end]
        return Outcome(self.requests / (self.measured_seconds / 60), sorted([*self.stale, *late]))


SINCE: Any = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run came to."""

    per_minute: float
    stale: list[float]

    def row(self) -> str:
        mean = sum(self.stale) / max(len(self.stale), 1)
        p99 = self.stale[int(0.99 * (len(self.stale) - 1))] if self.stale else 0.0
        return f"{self.per_minute:,.0f} | {mean:,.1f} s | {p99:,.1f} s | {len(self.stale):,}"


def main(arguments: Sequence[str] = ()) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.polling", description=__doc__)
    parser.add_argument("--jobs", type=int, nargs="*", default=[10, 1_000, 10_000])
    parser.add_argument("--budget", type=float, nargs="*", default=[600.0, 1200.0])
    wanted = parser.parse_args(list(arguments))
    print("| active jobs | polled by | requests a minute | stale: mean | p99 | changes |\n|---|---|---|---|---|---|")
    for count in wanted.jobs:
        ways: list[tuple[str, float | None, bool]] = [("one request a job, unbounded", None, True)]
        for budget in wanted.budget:
            ways.append((f"one request a job, within {budget:,.0f}", budget, True))
            ways.append((f"lists, within {budget:,.0f}", budget, False))
        for name, per_minute, alone in ways:
            if per_minute is None and count > 1000:  # its arithmetic needs no simulation
                each = count * poll_schedule.REQUESTS_PER_POLL * 60 / BASE_SECONDS
                print(f"| {count:,} | {name} | {each:,.0f} | {BASE_SECONDS / 2:.1f} s | {BASE_SECONDS:.1f} s | |")
                continue
            print(
                f"| {count:,} | {name} | {World(count, per_minute=per_minute, alone=alone).run().row()} |", flush=True
            )
    return 0


if __name__ == "__main__":
    import sys

    raise SystemExit(main(sys.argv[1:]))
