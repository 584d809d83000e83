"""What one program carries, and what much work needs, computed from what one request, job and delivery cost.

The tables are those of docs/scaling.md, with their arithmetic.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

USABLE = 0.7
"""The part of a core that a program may use and still answer quickly."""

REQUESTS_A_SECOND = 10_000
JOBS_A_DAY = 1_000_000
DELIVERIES_A_JOB = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Of one request, job or delivery: CPU milliseconds by program, and bytes."""

    cpu_ms: Mapping[str, float]
    wal_bytes: float
    table_bytes: float


def capacity_tables(get: Cost, job: Cost, delivery: Cost) -> str:
    """The three tables, as Markdown."""
    return "\n\n".join((_carries(get, job, delivery), _requests(get), _jobs(job, delivery)))


def _carries(get: Cost, job: Cost, delivery: Cost) -> str:
    lines = ["| program | work | cost | carries |", "|---|---|---|---|"]
    for program, name, work, cost in (
        ("API", "one API process, one core", "GET one job", get),
        ("worker", "one worker, one core", "jobs", job),
        ("worker", "one worker, one core", "deliveries", delivery),
        ("Postgres", "one core of Postgres", "GET one job", get),
        ("Postgres", "one core of Postgres", "jobs", job),
        ("Postgres", "one core of Postgres", "deliveries", delivery),
        ("Redis", "Redis, which uses one core", "GET one job", get),
    ):
        each = cost.cpu_ms[program]
        lines.append(
            f"| {name} | {work} | {each:.2f} ms | {1000 * USABLE:.0f} / {each:.2f} = {1000 * USABLE / each:,.1f} a second |"
        )
    return "\n".join(lines)


def _requests(get: Cost) -> str:
    lines = ["| part | arithmetic | need |", "|---|---|---|"]
    for program in ("API", "Postgres", "Redis"):
        busy = REQUESTS_A_SECOND * get.cpu_ms[program] / 1000
        lines.append(f"| {program} | {_product(REQUESTS_A_SECOND, get.cpu_ms[program])} = {busy:.1f} | {_need(busy)} |")
    return "\n".join(lines)


def _jobs(job: Cost, delivery: Cost) -> str:
    jobs = JOBS_A_DAY / 86_400
    deliveries = DELIVERIES_A_JOB * jobs
    lines = ["| part | arithmetic | need |", "|---|---|---|"]
    for program in ("API", "worker", "Postgres"):
        terms, busy = [_product(jobs, job.cpu_ms[program])], jobs * job.cpu_ms[program] / 1000
        if program != "API":
            terms.append(_product(deliveries, delivery.cpu_ms[program]))
            busy += deliveries * delivery.cpu_ms[program] / 1000
        lines.append(f"| {program} | {' + '.join(terms)} = {busy:.1f} | {_need(busy)} |")
    wal = jobs * job.wal_bytes + deliveries * delivery.wal_bytes
    lines.append(
        f"| WAL | {jobs:.1f} × {job.wal_bytes:,.0f} B + {deliveries:.1f} × {delivery.wal_bytes:,.0f} B | {wal / 1e6:.1f} MB/s |"
    )
    lines.append(f"| tables, a million jobs | 1,000,000 × {job.table_bytes:,.0f} B | {job.table_bytes / 1000:.0f} GB |")
    lines.append(
        f"| tables, their deliveries | 3,000,000 × {delivery.table_bytes:,.0f} B | {3 * delivery.table_bytes / 1000:.1f} GB |"
    )
    return "\n".join(lines)


def _product(a_second: float, ms: float) -> str:
    shown = f"{a_second:,.0f}" if a_second >= 1000 else f"{a_second:.1f}"
    return f"{shown} × {ms:.2f} ms"


def _need(busy_cores: float) -> str:
    return f"{busy_cores:.1f} / {USABLE} = {busy_cores / USABLE:.1f} cores"
