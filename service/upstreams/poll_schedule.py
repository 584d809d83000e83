"""How often an upstream account and its jobs are looked at, and what counts as news. Pure.

Up to `SMALL` running jobs of an account are looked at one by one, which fetches their events too; while one of them
rests, a list tells of its news. More of them are listed, a hundred with one request; a job is then looked at by itself
where the list has news of it, where somebody watches it, and rarely otherwise. Each share of the account's budget below
bounds one of these; docs/operations.md tells it to operators.
"""

from dataclasses import dataclass
from typing import Literal

from service.upstreams.port import UpstreamJob

SMALL = 25
"""Jobs that are looked at one by one: so few cost no more than watchers of a list would."""

PAGE = 100
LOOK_REQUESTS = 2
"""A look asks for the job and for its events; checkpoints, where there are new events, are booked besides."""

LOOKS_PER_MINUTE_AT_ONE_SECOND = 9000.0
QUICK_SECONDS = 600.0
SLOWEST = 4.0
NEAR_SHARE = 0.25
BURST_SECONDS = 10.0
LIST_SHARE, WATCHED_SHARE, SAFETY_SHARE = 0.3, 0.2, 0.05
SAFETY_SECONDS = 1800.0
NEW = "queued||||"
"""What is remembered of a job that was just created: nothing is news of it before it starts."""

PROGRESS_SECONDS = 300.0
"""How often mere progress (trained tokens, another estimate) is a reason to look, while nobody watches."""

ESTIMATE_SECONDS, ESTIMATE_SHARE = 60.0, 0.1

STALLED_AFTER_SECONDS: dict[str, float] = {
    "validating": 3600.0,
    "uploading": 2 * 3600.0,
    "creating": 3600.0,
    "settling": 3600.0,
    "running/validating_files": 2 * 3600.0,
    "running/queued": 24 * 3600.0,
    "running/running": 6 * 3600.0,
    "running": 6 * 3600.0,
}
"""After how long without news a job counts as stalled, by its state and, while it runs, the upstream's status;
`running` alone is for any other. A paused job never stalls, nor one that waits for its turn (its timeline says why)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Crowd:
    """An account's running jobs: whether a list tells of them, how many there are, and how many somebody watches."""

    listing: bool
    active: int
    watched: int
    per_minute: float


News = Literal["none", "progress", "change", "end"]


def default_per_minute(base_seconds: float) -> float:
    """The budget of an account that was given none, in requests a minute: 600 with looks every 15 seconds."""
    return LOOKS_PER_MINUTE_AT_ONE_SECOND / base_seconds


def look_seconds(base_seconds: float, *, age_seconds: float, left_seconds: float | None) -> float:
    """The pause between two looks at one job: `base_seconds` in the first ten minutes, then up to four times that.

    `left_seconds` is the time to the upstream's estimate of the end, or None. Towards it the pauses shorten again, to
    a quarter of what is left; an estimate that is ten minutes over counts no more.
    """
    slow = base_seconds * min(SLOWEST, max(1.0, age_seconds / QUICK_SECONDS))
    if left_seconds is None or left_seconds < -QUICK_SECONDS:
        return slow
    return max(base_seconds, min(slow, left_seconds * NEAR_SHARE))


def next_look_seconds(
    base_seconds: float,
    *,
    age_seconds: float,
    left_seconds: float | None,
    watched: bool,
    wished: bool,
    crowd: Crowd,
) -> float:
    """When a job is looked at by itself again. `wished`: a caller's cancel or pause has not come about yet."""
    if wished:
        return base_seconds
    if crowd.listing and not watched:
        return max(SAFETY_SECONDS, base_seconds, _fair(crowd.active, SAFETY_SHARE, crowd))
    own = base_seconds if watched else look_seconds(base_seconds, age_seconds=age_seconds, left_seconds=left_seconds)
    fair = _fair(crowd.watched, WATCHED_SHARE, crowd) if crowd.listing else _fair(crowd.active, 1.0, crowd)
    return max(own, fair)


def list_seconds(base_seconds: float, *, pages: int, per_minute: float) -> float:
    """The pause between two listings, within the lists' share of the budget."""
    return max(base_seconds, pages * 60 / (per_minute * LIST_SHARE))


def looks_until_next_list(seconds: float, *, per_minute: float) -> int:
    """How many jobs with news are made due before the next list; what is more is news then too.

    All that the budget lets be looked at by then: it is the budget that decides, and this only keeps a crowd from it.
    """
    return max(1, int(seconds / 60 * per_minute))


def spread_seconds(base_seconds: float, *, active: int, per_minute: float) -> float:
    """Over how long the looks at an account's jobs are spread that a list does not tell of any more."""
    return max(base_seconds, active * LOOK_REQUESTS * 60 / per_minute)


def told_of(job: UpstreamJob) -> str:
    """What is remembered of an upstream job, to see news in a list. That its files are checked shows nowhere else."""
    status = "queued" if job.status == "validating_files" else job.status
    return "|".join(
        "" if value is None else str(value).replace("|", " ")
        for value in (status, job.finished_at, job.error_code, job.trained_tokens, job.estimated_finish)
    )


def news_in(remembered: str | None, job: UpstreamJob, *, ended: bool, now: float) -> News:
    """What a list tells that the row does not know. `now` in Unix seconds; an estimate may wander a little."""
    old, new = (remembered or "").split("|"), told_of(job).split("|")
    if ended:
        return "end"
    if len(old) != len(new) or old[:3] != new[:3]:
        return "change"
    if old[3] != new[3] or (old[4] == "") != (new[4] == ""):
        return "progress"
    if old[4] and abs(int(new[4]) - int(old[4])) > max(ESTIMATE_SECONDS, (int(old[4]) - now) * ESTIMATE_SHARE):
        return "progress"
    return "none"


def _fair(jobs: int, share: float, crowd: Crowd) -> float:
    return jobs * LOOK_REQUESTS * 60 / (crowd.per_minute * share)
