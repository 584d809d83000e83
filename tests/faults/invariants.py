"""The invariants of a run, checked from the outside: with the database's owner, the upstream and the receiver.

The forbidden counts are those that RELIABILITY promises to be zero.
"""

import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from tests.faults.harness import FaultHarness, connect

ENDED = ("succeeded", "failed", "cancelled")
ALLOWED_FAILURES = ("upstream_refused_file", "upstream_failed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The counts of a run. Those in `FORBIDDEN` must be zero."""

    submitted: int
    ended: int
    succeeded: int
    failed: int
    cancelled: int
    upstream_jobs: int
    events: int
    lost: int
    unended: int
    doubled: int
    doubled_by_callers: int
    without_upstream_job: int
    left_running_upstream: int
    ledger_drift_micros: int
    reserved_left_micros: int
    events_lost: int
    events_not_reported_once: int
    crossings: int
    timelines_broken: int

    def forbidden(self) -> dict[str, int]:
        """What should be zero and is not."""
        return {name: count for name in FORBIDDEN if (count := getattr(self, name))}

    def table(self) -> str:
        """The counts, a line each."""
        width = max(len(spec.name) for spec in fields(self))
        return "\n".join(
            f"  {spec.name.replace('_', ' '):{width}}  {getattr(self, spec.name):>8,}"
            f"{'  must be 0' if spec.name in FORBIDDEN else ''}"
            for spec in fields(self)
        )


FORBIDDEN = (
    "lost",
    "unended",
    "doubled",
    "doubled_by_callers",
    "without_upstream_job",
    "left_running_upstream",
    "ledger_drift_micros",
    "reserved_left_micros",
    "events_lost",
    "events_not_reported_once",
    "crossings",
    "timelines_broken",
)


async def unended(harness: FaultHarness) -> int:
    """How many jobs have not ended yet."""
    rows = await harness.fetch("SELECT count(*) FROM jobs WHERE finished_at IS NULL")
    return int(rows[0][0])


async def undelivered(harness: FaultHarness) -> int:
    """How many deliveries are still to be made."""
    rows = await harness.fetch("SELECT count(*) FROM webhook_deliveries WHERE status = 'pending'")
    return int(rows[0][0])


async def left(harness: FaultHarness) -> str:
    """What has not ended, and what it may wait for: to diagnose a run that does not end."""
    found = []
    for query in (
        "SELECT id, state, create_phase, waiting_reason, upstream_status, upstream_job_id, failures, looked_at, "
        "due_at - now() AS due_in, leased_until - now() AS leased_for FROM jobs WHERE finished_at IS NULL LIMIT 10",
        "SELECT id, status, attempts, failures, due_at - now() AS due_in FROM webhook_deliveries "
        "WHERE status = 'pending' LIMIT 10",
        "SELECT id, status, due_at - now() AS due_in FROM file_reports WHERE status <> 'ready' LIMIT 10",
        "SELECT id, held_until - now() AS held_for, held_reason FROM upstream_accounts",
        "SELECT id, listing, active, failures, due_at - now() AS due_in FROM upstream_watches",
    ):
        found += [str(dict(row)) for row in await harness.fetch(query)]
    return "\n".join(found)


async def check_invariants(
    harness: FaultHarness, accepted: Mapping[str, str], *, once: Iterable[str] = (), placed: Collection[str] = ()
) -> Verdict:
    """Count everything. `accepted`: the jobs that were answered 2xx, with the caller's project.

    `once`: the marks, in the callers' metadata, of which there may be one job each however often the request was sent.
    `placed`: upstream jobs that the test has made behind our back.
    """
    connection = await connect(harness.owner_url)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            jobs = {row["id"]: row for row in await connection.fetch("SELECT * FROM jobs")}
            events = await connection.fetch(
                "SELECT e.id, e.project_id, e.type, e.subject, d.status FROM webhook_events e "
                "LEFT JOIN webhook_deliveries d ON d.event_id = e.id"
            )
            drift, reserved = await _ledger(connection)
            crossed = await _crossed_rows(connection)
            broken = await connection.fetchval(BROKEN_TIMELINES)
    finally:
        await connection.close()
    upstream = harness.upstream.jobs()
    made = Counter(label for job in upstream if (label := _label(job)) and job["id"] not in placed)
    alive = [job for job in upstream if job["status"] not in ENDED]
    states = Counter(row["state"] for row in jobs.values())
    labels = Counter((json.loads(row["metadata"] or "{}")).get("mark") for row in jobs.values())
    reported = Counter((row["subject"], row["type"]) for row in events if row["type"].startswith("fine_tuning.job."))
    outcomes = {job_id: f"fine_tuning.job.{row['state']}" for job_id, row in jobs.items() if row["state"] in ENDED}
    return Verdict(
        submitted=len(accepted),
        ended=sum(states[state] for state in ENDED),
        succeeded=states["succeeded"],
        failed=states["failed"],
        cancelled=states["cancelled"],
        upstream_jobs=len(upstream),
        events=len(events),
        lost=sum(job_id not in jobs for job_id in accepted),
        unended=sum(row["state"] not in ENDED for row in jobs.values()),
        doubled=sum(count - 1 for count in made.values()),
        doubled_by_callers=sum(max(0, labels[label] - 1) for label in set(once)),
        without_upstream_job=sum(made[job_id] == 0 for job_id, row in jobs.items() if row["state"] == "succeeded"),
        left_running_upstream=len(alive),
        ledger_drift_micros=drift,
        reserved_left_micros=reserved,
        events_lost=_events_lost(harness, events),
        events_not_reported_once=sum(reported[(job_id, ending)] != 1 for job_id, ending in outcomes.items())
        + sum(count > 1 for count in reported.values()),
        crossings=crossed
        + _crossed_events(harness, {row["id"]: row["project_id"] for row in events})
        + sum(jobs[job_id]["project_id"] != project for job_id, project in accepted.items() if job_id in jobs),
        timelines_broken=int(broken),
    )


def _label(job: Mapping[str, Any]) -> str:
    """The label of an upstream job: which request made it."""
    return str((job["metadata"] or {}).get("tunegate_job", ""))


def _events_lost(harness: FaultHarness, events: Iterable[Any]) -> int:
    """Events whose endpoint has neither received them nor shows them as failed."""
    received = {event_id for path in harness.receiver.received.values() for event_id in path}
    return sum(row["status"] not in (None, "failed") and row["id"] not in received for row in events)


def _crossed_events(harness: FaultHarness, owners: Mapping[str, str]) -> int:
    """Events that came to another project's endpoint, or tell of another project."""
    paths = {f"/{index}": tenant.project_id for index, tenant in enumerate(harness.tenants)}
    crossed = 0
    for path, events in harness.receiver.received.items():
        for event_id, body in events.items():
            reported = body.get("data", {}).get("project_id", paths[path])
            crossed += owners.get(event_id) != paths[path] or reported != paths[path]
    return crossed


async def _ledger(connection: Any) -> tuple[int, int]:
    """By how much balances and jobs differ from the ledger's entries, and what is still reserved."""
    drift = await connection.fetchval(
        """
        SELECT coalesce(sum(abs(b.reserved_micros - coalesce(e.reserved, 0))
            + abs(b.spent_micros - coalesce(e.spent, 0)) + abs(b.overage_micros - coalesce(e.overage, 0))), 0)::bigint
        FROM balances b FULL JOIN (
            SELECT project_id, month, sum(CASE kind WHEN 'reserve' THEN reserved_micros ELSE -reserved_micros END)
                AS reserved, sum(spent_micros) AS spent, sum(overage_micros) AS overage
            FROM ledger_entries GROUP BY project_id, month
        ) e USING (project_id, month)
        """
    )
    unposted = await connection.fetchval(
        """
        SELECT coalesce(sum(abs(coalesce(j.cost_micros, 0) - coalesce(e.posted, 0))), 0)::bigint
        FROM jobs j LEFT JOIN (
            SELECT subject, sum(spent_micros + overage_micros) AS posted FROM ledger_entries GROUP BY subject
        ) e ON e.subject = j.id
        """
    )
    reserved = await connection.fetchval("SELECT coalesce(sum(reserved_micros), 0)::bigint FROM balances")
    return int(drift) + int(unposted), int(reserved)


async def _crossed_rows(connection: Any) -> int:
    """Rows that name another project than the row they belong to."""
    crossed = 0
    for query in (
        "SELECT count(*) FROM job_events c JOIN jobs j ON j.id = c.job_id WHERE c.project_id <> j.project_id",
        "SELECT count(*) FROM jobs j JOIN files f ON f.id = j.training_file_id WHERE f.project_id <> j.project_id",
        "SELECT count(*) FROM models m JOIN jobs j ON j.id = m.job_id WHERE m.project_id <> j.project_id",
        "SELECT count(*) FROM ledger_entries c JOIN jobs j ON j.id = c.subject WHERE c.project_id <> j.project_id",
        "SELECT count(*) FROM webhook_events c JOIN jobs j ON j.id = c.subject WHERE c.project_id <> j.project_id",
        "SELECT count(*) FROM jobs j, files f WHERE f.id = ANY(j.result_file_ids) AND f.project_id <> j.project_id",
    ):
        crossed += int(await connection.fetchval(query))
    return crossed


BROKEN_TIMELINES = """
    SELECT count(*) FROM (
        SELECT j.id FROM jobs j JOIN job_states s ON s.job_id = j.id
        GROUP BY j.id, j.state
        HAVING count(*) <> count(DISTINCT s.state)
            OR count(*) FILTER (WHERE s.state IN ('succeeded', 'failed', 'cancelled'))
                <> (j.state IN ('succeeded', 'failed', 'cancelled'))::int
    ) broken
"""
"""Jobs that entered a state twice, or ended more or less than once."""
