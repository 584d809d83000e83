"""How often an upstream account and its jobs are polled, and which changes in a list of jobs are updates. Pure.

Up to `MAX_POLLED_SINGLY` running jobs of an account are polled one by one, which also fetches their events; while one
of them waits longer between polls, a list shows its updates. More jobs than that are listed, a hundred with one
request. A list shows as much of a job as a poll of that job, apart from its events and checkpoints, and is written
without a poll. A job is then polled by itself for its events: often if a caller has viewed it recently, otherwise after
an update, as far as the share of such polls allows. Lists, polls of viewed jobs and the other polls each have a share
of the account's poll limit (`LIST_SHARE`, `RECENTLY_VIEWED_SHARE`, `DETAIL_SHARE`, `SAFETY_SHARE`); docs/operations.md
explains them.
"""

from dataclasses import dataclass
from typing import Literal

from service.upstreams.port import UpstreamJob

MAX_POLLED_SINGLY = 25
"""Running jobs of one account that are polled one by one: so few cost no more requests than listing them would."""

PAGE = 100
REQUESTS_PER_POLL = 2
"""A poll fetches the job and its events. Checkpoints are fetched only after new messages and are booked separately."""

REQUESTS_PER_MINUTE_AT_ONE_SECOND = 9000.0
FULL_RATE_SECONDS = 600.0
MAX_SLOWDOWN = 4.0
REMAINING_SHARE = 0.25
BURST_SECONDS = 10.0
LIST_SHARE, RECENTLY_VIEWED_SHARE, DETAIL_SHARE, SAFETY_SHARE = 1 / 6, 0.2, 0.1, 0.05
LISTS_PER_MINUTE, MAX_LIST_SHARE = 100.0, 0.4
"""Lists may use so many requests a minute even if `LIST_SHARE` is less, up to `MAX_LIST_SHARE` of the limit: no other
request shows as many updates."""

SAFETY_SECONDS = 1800.0
SNAPSHOT_VALUES = 5
"""The values of a snapshot, to which a waiting job adds its place in the upstream's queue."""

NEW_JOB_SNAPSHOT = "queued||||"
"""The stored snapshot of a job that was just created: nothing before its start counts as an update."""

PROGRESS_SECONDS = 300.0
"""Pause after a poll of a listed job that nobody viewed recently, before an update causes another one for its events. A
change of its status causes one at once."""

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
"""Seconds without an update after which a job counts as stalled, by its state and, while it runs, by the upstream's
status; `running` alone covers every other status. Paused jobs never stall, nor do jobs that wait for admission (their
timeline says why)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """An account's running jobs: whether lists cover them, how many there are, and how many were viewed recently.

    `per_minute` is the account's poll limit in requests a minute.
    """

    listing: bool
    active: int
    recently_viewed: int
    per_minute: float


UpdateKind = Literal["none", "progress", "change", "end"]


def default_per_minute(base_seconds: float) -> float:
    """The poll limit of an account without its own, in requests a minute: 600 when jobs are polled every 15 seconds."""
    return REQUESTS_PER_MINUTE_AT_ONE_SECOND / base_seconds


def poll_seconds(base_seconds: float, *, age_seconds: float, left_seconds: float | None) -> float:
    """Seconds between two polls of one job: `base_seconds` in its first ten minutes, then up to four times that.

    `left_seconds` is the time until the upstream's estimated finish, or None. Towards it the intervals shorten again,
    to a quarter of the time left; an estimate that passed ten minutes ago is ignored.
    """
    slow = base_seconds * min(MAX_SLOWDOWN, max(1.0, age_seconds / FULL_RATE_SECONDS))
    if left_seconds is None or left_seconds < -FULL_RATE_SECONDS:
        return slow
    return max(base_seconds, min(slow, left_seconds * REMAINING_SHARE))


def next_poll_seconds(
    base_seconds: float,
    *,
    age_seconds: float,
    left_seconds: float | None,
    recently_viewed: bool,
    request_pending: bool,
    load: Load,
) -> float:
    """Seconds until a job is polled by itself again.

    `request_pending`: a caller's cancel or pause has not taken effect at the upstream yet.
    """
    if request_pending:
        return base_seconds
    if load.listing and not recently_viewed:
        return max(SAFETY_SECONDS, base_seconds, _fair_seconds(load.active, SAFETY_SHARE, load))
    interval = base_seconds
    if not recently_viewed:
        interval = poll_seconds(base_seconds, age_seconds=age_seconds, left_seconds=left_seconds)
    if load.listing:
        return max(interval, _fair_seconds(load.recently_viewed, RECENTLY_VIEWED_SHARE, load))
    return max(interval, _fair_seconds(load.active, 1.0, load))


def is_left_to_lists(*, polled: bool, recently_viewed: bool, request_pending: bool, load: Load) -> bool:
    """Whether a new job's first poll is skipped: the create's response had the same contents; lists show updates."""
    return load.listing and not polled and not recently_viewed and not request_pending


def list_seconds(base_seconds: float, *, pages: int, per_minute: float) -> float:
    """Seconds from the start of a list to the start of the next, within the lists' share of the poll limit."""
    allowed = max(per_minute * LIST_SHARE, min(LISTS_PER_MINUTE, per_minute * MAX_LIST_SHARE))
    return max(base_seconds, pages * 60 / allowed)


def polls_until_next_list(seconds: float, *, per_minute: float) -> int:
    """How many updated jobs are polled for their events until the next list, which reports the rest again."""
    return max(1, int(seconds / 60 * per_minute * DETAIL_SHARE / REQUESTS_PER_POLL))


def cost_seconds(requests: int, *, per_minute: float) -> float:
    """By how much requests advance the poll limiter's moment (the generic cell rate algorithm)."""
    return requests * 60 / per_minute


def burst_seconds(requests: int, *, per_minute: float) -> float:
    """How far requests may advance the poll limiter's moment beyond now."""
    return max(BURST_SECONDS, cost_seconds(requests, per_minute=per_minute))


def spread_seconds(base_seconds: float, *, active: int, per_minute: float) -> float:
    """Over how many seconds the polls of an account's jobs are spread when lists stop covering them."""
    return max(base_seconds, active * REQUESTS_PER_POLL * 60 / per_minute)


def snapshot_of(job: UpstreamJob) -> str:
    """The stored snapshot of an upstream job, with which lists are compared to find updates.

    `validating_files` counts as `queued`: only a poll of the job itself shows that its files are being validated.
    """
    status = "queued" if job.status == "validating_files" else job.status
    values = [status, job.finished_at, job.error_code, job.trained_tokens, job.estimated_finish]
    if job.queue_place is not None:
        values.append(job.queue_place)
    return "|".join("" if value is None else str(value).replace("|", " ") for value in values)


def classify_update(snapshot: str | None, job: UpstreamJob, *, ended: bool, now: float) -> UpdateKind:
    """How a job in a list differs from the stored snapshot.

    `ended` says that the upstream's status is final; `now` is in Unix seconds. Small changes of the estimated finish do
    not count.
    """
    old, new = (snapshot or "").split("|"), snapshot_of(job).split("|")
    if ended:
        return "end"
    if len(old) < SNAPSHOT_VALUES or old[:3] != new[:3]:
        return "change"
    if old[3] != new[3] or old[5:] != new[5:] or (old[4] == "") != (new[4] == ""):
        return "progress"
    if old[4] and abs(int(new[4]) - int(old[4])) > max(ESTIMATE_SECONDS, (int(old[4]) - now) * ESTIMATE_SHARE):
        return "progress"
    return "none"


def _fair_seconds(jobs: int, share: float, load: Load) -> float:
    return jobs * REQUESTS_PER_POLL * 60 / (load.per_minute * share)
