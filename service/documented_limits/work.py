"""Bounds of the work of workers."""

from service.database.group_commit import MAX_OPERATIONS
from service.documented_limits.limit import FIXED, Limit, by_setting, shown
from service.experiments.request_schemas import MAX_ARMS, MAX_MODELS
from service.limits.unfinished_work import MAX_UNFINISHED_EXPERIMENTS, MAX_UNFINISHED_REPORTS
from service.settings import Settings
from service.webhooks.actions import MAX_RECOVERED
from service.webhooks.schedule import SLOW_SECONDS
from service.worker_places import (
    ACCOUNT_POLLS,
    DELETIONS,
    DELIVERIES,
    DEPLOYMENTS,
    EXPERIMENTS,
    RETRIES,
    RUNS,
    SLOW_DELIVERIES,
)

_DELAYED = "waits; nothing is refused"
_SHARE = "worker; a project gets at most half of what others leave"


def _by_worker_place(name: str, value: int, honest_use: str) -> Limit:
    """Steps of one kind of leased work that a worker runs at a time."""
    return Limit(
        name=name, value=shown(value), counted=_SHARE, above=_DELAYED, change="more workers", honest_use=honest_use
    )


WORK: tuple[Limit, ...] = (
    Limit(
        name="deliveries that a recovery makes pending",
        value=shown(MAX_RECOVERED),
        counted="call; a project's calls run one after the other",
        above="`has_more`: repeat the call",
        change=FIXED,
        honest_use="a day without a receiver at three events a minute",
    ),
    by_setting(
        "max_unfinished_work",
        name="unfinished preparations; unfinished generations and comparisons",
        counted="project, each",
        above="429 `too_much_unfinished_work`",
        honest_use="as many jobs may be queued by default; a sweep starts some dozens",
    ),
    Limit(
        name="file reports that are not ready; leakage reports that are not ready",
        value=shown(MAX_UNFINISHED_REPORTS),
        counted="project, each; workers' own files do not count against it",
        above="429 `too_much_unfinished_work`",
        change=FIXED,
        honest_use="a script that uploads 5,000 training files of an archive within minutes",
    ),
    by_setting(
        "worker_concurrency",
        name="steps of jobs",
        counted=_SHARE,
        above=_DELAYED,
        honest_use="a step takes well under a second while its upstream answers, so 32 of one project poll 10,000 jobs",
    ),
    _by_worker_place("polls of accounts", ACCOUNT_POLLS, "a project has at most 20 accounts of its own"),
    _by_worker_place("time slices of generations and comparisons", RUNS, "8 of one project, as many as before"),
    Limit(
        name="calls in flight of generations and comparisons",
        value=shown(RUNS * Settings().run_concurrency),
        counted=_SHARE,
        above=_DELAYED,
        change="`TUNEGATE_RUN_CONCURRENCY` (16 times that), more workers",
        honest_use="8 runs of one project with 16 calls each",
    ),
    _by_worker_place(
        "deployments whose comparison begins or has ended", DEPLOYMENTS, "a step takes some tens of milliseconds"
    ),
    _by_worker_place(
        "experiments that start arms, draw shares of the data or conclude",
        EXPERIMENTS,
        "a step takes some tens of milliseconds; a share of 100 MB some seconds",
    ),
    Limit(
        name="arms of an experiment; different models among them",
        value=f"{MAX_ARMS}; {MAX_MODELS}",
        counted="request",
        above="400 `too_many_arms`",
        change=FIXED,
        honest_use="four values of three hyperparameters are 64: a first sweep takes fewer",
    ),
    Limit(
        name="experiments that have not ended",
        value=shown(MAX_UNFINISHED_EXPERIMENTS),
        counted="project",
        above="429 `too_much_unfinished_work`",
        change=FIXED,
        honest_use="one or two for each of a team's models",
    ),
    _by_worker_place("deletions of files, models and projects", DELETIONS, "8 of one project, as many as before"),
    _by_worker_place(
        "attempts of deliveries", DELIVERIES, "32 endpoints of one project with four attempts each at the same time"
    ),
    Limit(
        name="attempts of deliveries that one transaction records",
        value=shown(MAX_OPERATIONS),
        counted="worker",
        above="waits for the next transaction, some milliseconds",
        change=FIXED,
        honest_use="a worker has 384 attempts at the same time, and most of them wait for their receivers",
    ),
    _by_worker_place(
        f"attempts at endpoints whose last attempt took over {SLOW_SECONDS:.0f} s",
        SLOW_DELIVERIES,
        "receivers do their work after they have answered, within some hundred milliseconds",
    ),
    _by_worker_place("attempts at endpoints whose last attempt failed", RETRIES, "one attempt at a time for each"),
)
"""Leased work in workers."""
