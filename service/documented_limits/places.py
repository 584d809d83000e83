"""Bounds of places in a process that projects share."""

from service.billing.ledger_batcher import MAX_SHARED
from service.documented_limits.limit import FIXED, Limit, by_setting, shown
from service.egress.resolver import MAX_LOOKUPS
from service.http.concurrent_requests import MAX_EXPORTS
from service.http.event_streams import MAX_FETCHES_PER_SECOND
from service.inference.relay_pace import MAX_EVENTS_PER_SECOND
from service.inference.token_counts import COUNTING_PROCESSES, COUNTING_THREADS

PLACES: tuple[Limit, ...] = (
    Limit(
        name="events of streamed answers",
        value=f"{shown(MAX_EVENTS_PER_SECOND)} a second",
        counted="project in a process",
        above="waits",
        change=FIXED,
        honest_use="fifty streams of a hundred tokens a second",
    ),
    by_setting(
        "max_concurrent_requests",
        name="requests in progress",
        counted="project in a process",
        above="429 `rate_limit_exceeded`, before the body is read",
        honest_use="200 inference calls and 50 event streams leave 262; a notebook or batch has at most a hundred",
    ),
    by_setting(
        "max_inference_calls",
        name="concurrent inference calls",
        counted="process; a project has at most half of what others leave",
        above="429 `concurrency_limit_exceeded`",
        honest_use="a batch of the SDK with 100 connections; OpenAI's lowest tier allows 500 requests a minute",
    ),
    by_setting(
        "database_pool_size",
        name="database connections",
        counted="process; a fifth is for key look-ups and work across projects, and of the rest a project gets at most "
        "half of those that others leave",
        above="waits 10 s, then 503 `service_unavailable`",
        honest_use="a request uses one for some milliseconds: eight serve two thousand a second",
    ),
    Limit(
        name="shared transactions of inference calls",
        value=shown(MAX_SHARED),
        counted="process; the two are of different projects, and each has at most 200 reservations and postings",
        above="waits for the next one",
        change=FIXED,
        honest_use="one takes some milliseconds, and what waits shares the next",
    ),
    by_setting(
        "max_concurrent_uploads",
        name="uploads, parts and completions in progress",
        counted="project in a process",
        above="429 `rate_limit_exceeded`, which the SDK repeats",
        honest_use="the SDK sends parts one after the other, scripts eight to ten at a time",
    ),
    by_setting(
        "max_open_uploads",
        name="open uploads",
        counted="project",
        above="429 `too_many_uploads`",
        honest_use="an upload is a file, and is completed within minutes; it expires after an hour",
    ),
    by_setting(
        "max_concurrent_downloads",
        name="downloads of files in progress",
        counted="project in a process",
        above="429 `rate_limit_exceeded`, which the SDK repeats",
        honest_use="a script downloads ten to twenty files at a time",
    ),
    Limit(
        name="exports of a comparison's cases in progress",
        value=shown(MAX_EXPORTS),
        counted="project in a process",
        above="429 `rate_limit_exceeded`",
        change=FIXED,
        honest_use="a person downloads one",
    ),
    by_setting(
        "max_event_streams",
        name="open event streams",
        counted="project in a process",
        above="429 `too_many_streams`",
        honest_use="a notebook follows one job, and `tunegate listen` one project",
    ),
    Limit(
        name="fetches of a project's event streams",
        value=f"{MAX_FETCHES_PER_SECOND} a second",
        counted="project in a process",
        above="waits: each of 50 streams has new events after 2.5 s instead of half a second",
        change=FIXED,
        honest_use="up to ten streams do not notice it",
    ),
    Limit(
        name="name look-ups at the same time",
        value=shown(MAX_LOOKUPS),
        counted="process, for webhooks and for upstreams; a project gets at most half of those that others leave",
        above="waits; the attempt then ends as `timeout`",
        change=FIXED,
        honest_use="a look-up takes some milliseconds, so that a thousand endpoints occupy a few",
    ),
    Limit(
        name="long texts whose tokens are counted at the same time",
        value=f"{COUNTING_PROCESSES} in processes of the API, {COUNTING_THREADS} in threads of a worker",
        counted="process of the API or of a worker; a project gets at most half of those that others leave",
        above="waits",
        change=FIXED,
        honest_use="counting a megabyte takes a tenth of a second",
    ),
)
"""Places that projects share: connections, streams, look-ups, processes, concurrent steps."""
