"""Compares the list of an account's upstream jobs with the running jobs here, page by page. Pure.

`account_poller` fetches the pages and writes the result; `benchmarks/polling.py` runs the same rules on a simulated
upstream.
"""

import datetime as dt
from collections.abc import Sequence
from typing import NamedTuple

from prometheus_client import Counter

from service.jobs.lifecycle import upstream_end
from service.upstreams import poll_schedule
from service.upstreams.poll_schedule import Load
from service.upstreams.port import UpstreamJob

UPDATES = Counter("tunegate_upstream_updates_total", "Jobs that differed from their snapshot in a list.", ["kind"])

CLOCK_SKEW = dt.timedelta(hours=1)
"""How far the upstream's clock may be behind ours. A page whose jobs are all older than our oldest one by more than
this ends the list."""


class RunningJob(NamedTuple):
    """A running job as its row has it. `due`: it is polled anyway, as its time has come or a worker has claimed it.

    `details_pending`: a list has shown an update since the last poll, which fetched the events. `budget_gpu_seconds`
    are those that its budget pays for; a poll cancels a job that has used them.
    """

    id: str
    upstream_id: str
    snapshot: str | None
    since: dt.datetime
    age_seconds: float
    left_seconds: float | None
    polled_seconds_ago: float | None
    details_pending: bool
    due: bool
    failures: int
    recently_viewed: bool
    budget_gpu_seconds: float | None = None


class Found(NamedTuple):
    """What a page shows: the upstream's jobs to write, by our ids, and jobs to poll now for their events."""

    updates: dict[str, UpstreamJob]
    to_poll: list[RunningJob]


def load_of_jobs(jobs: Sequence[RunningJob], *, per_minute: float) -> Load:
    """The account's load."""
    return Load(
        listing=len(jobs) > poll_schedule.MAX_POLLED_SINGLY,
        active=len(jobs),
        recently_viewed=sum(job.recently_viewed for job in jobs),
        per_minute=per_minute,
    )


def needs_list(jobs: Sequence[RunningJob], load: Load, base_seconds: float) -> bool:
    """Whether to fetch a list: there are many jobs, or one is polled so rarely that a list shows updates earlier."""
    return load.listing or any(_is_slow(job, base_seconds) for job in jobs)


class Sweep:
    """One list from its first page to its end, and the jobs that it selects to be polled for their events.

    `seconds` is the time until the next list. While lists cover the account's jobs, polls have a share of the limit
    until then, of which jobs that are due anyway use some.
    """

    def __init__(self, jobs: Sequence[RunningJob], load: Load, *, seconds: float) -> None:
        self._not_listed = {job.upstream_id: job for job in jobs}
        self._oldest = (min(job.since for job in jobs) - CLOCK_SKEW).timestamp()
        self._polls_left = len(jobs)
        if load.listing:
            allowed = poll_schedule.polls_until_next_list(seconds, per_minute=load.per_minute)
            self._polls_left = allowed - sum(job.due and not job.recently_viewed for job in jobs)
        self._pending: list[RunningJob] = []

    def read(self, page: Sequence[UpstreamJob], *, now: float) -> Found:
        """Compare a page with the jobs; `now` in Unix seconds. Jobs that are due anyway are left to their own poll."""
        updates: dict[str, UpstreamJob] = {}
        changed: list[RunningJob] = []
        for each in page:
            job = self._not_listed.pop(each.id, None)
            if job is None or job.due:
                continue
            ended = upstream_end(each.status) is not None
            kind = poll_schedule.classify_update(job.snapshot, each, ended=ended, now=now)
            if kind != "none":
                UPDATES.labels(kind).inc()
                updates[job.id] = each
            if kind == "change" or _has_spent_budget(job, each):
                changed.append(job)
            elif kind == "progress" or (kind == "none" and job.details_pending):
                self._pending.append(job)
        return Found(updates, self._take(changed))

    def is_complete(self, page: Sequence[UpstreamJob], after: str | None) -> bool:
        """Whether no later page can contain one of the jobs. `after` is the cursor of the next page."""
        return not self._not_listed or after is None or all(0 < each.created_at < self._oldest for each in page)

    def left_to_poll(self) -> list[RunningJob]:
        """At the end: jobs to poll that the list does not contain, then the longest unpolled of those with updates."""
        missing = [job for job in self._not_listed.values() if not job.due and job.failures == 0]
        pending = [job for job in self._pending if _seconds_unpolled(job) > poll_schedule.PROGRESS_SECONDS]
        return self._take([*missing, *sorted(pending, key=_seconds_unpolled, reverse=True)])

    def _take(self, jobs: list[RunningJob]) -> list[RunningJob]:
        taken = jobs[: max(self._polls_left, 0)]
        self._polls_left -= len(taken)
        return taken


def _has_spent_budget(job: RunningJob, listed: UpstreamJob) -> bool:
    budget, used = job.budget_gpu_seconds, listed.gpu_seconds
    return budget is not None and used is not None and used >= budget


def _is_slow(job: RunningJob, base_seconds: float) -> bool:
    seconds = poll_schedule.poll_seconds(base_seconds, age_seconds=job.age_seconds, left_seconds=job.left_seconds)
    return seconds > base_seconds


def _seconds_unpolled(job: RunningJob) -> float:
    return float("inf") if job.polled_seconds_ago is None else job.polled_seconds_ago
