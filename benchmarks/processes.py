"""`python -m benchmarks.processes [--rounds 7]`: one API process against two, in requests and CPU time for each.

Real `tunegate serve` with and without `--processes 2`, on one Postgres and one Valkey, which use the same cores as the
generator of the load. So on two cores the second process gets only what these leave: the benchmark counts the CPU time of every
part, and prints the speed-up that the machine has room for beside the one that it measured.
"""

from __future__ import annotations

import argparse
import os
import statistics
from collections import defaultdict
from dataclasses import dataclass

import httpx2

from benchmarks.load import LoadGenerator, request_bytes
from benchmarks.servers import Served, migrated_database, running_api
from benchmarks.usage import child_named, tree_cpu_seconds
from service.settings import Settings
from tests.stack import run_async
from tests.wire import MODEL, chat_rows, jsonl, make_tenant

CALLERS = 16
COUNTS = (1, 2)


@dataclass(frozen=True, slots=True)
class Round:
    """What one run has measured: requests a second, and CPU milliseconds for each request by part."""

    per_second: float
    p50_ms: float
    p99_ms: float
    cpu_ms: dict[str, float]
    api_cores: float
    """How many cores the API has used."""


def measure(api: Served, generator: LoadGenerator, request: bytes, parts: dict[str, int], seconds: float) -> Round:
    """One run of the load."""
    before = {name: tree_cpu_seconds(pid) for name, pid in parts.items()}
    load = generator.run(api.url, [request], callers=CALLERS, seconds=seconds)
    used = {name: tree_cpu_seconds(pid) - before[name] for name, pid in parts.items()}
    return Round(
        load.per_second,
        load.p50_ms,
        load.p99_ms,
        {name: 1000 * each / load.answers for name, each in used.items()},
        used["API"] / (load.answers / load.per_second),
    )


def one_job(settings: Settings, url: str) -> tuple[str, dict[str, str]]:
    """The path of a job that waits, and the headers of its project."""
    tenant = run_async(make_tenant(f"{url}/v1", settings.database_url))
    headers = {"authorization": f"Bearer {tenant.key}"}
    with httpx2.Client(base_url=f"{url}/v1", headers=headers, timeout=60) as http:
        file = http.post("/files", data={"purpose": "fine-tune"}, files={"file": ("a.jsonl", jsonl(chat_rows(10)))})
        job = http.post("/fine_tuning/jobs", json={"model": MODEL, "training_file": file.json()["id"]})
        job.raise_for_status()
    return f"/v1/fine_tuning/jobs/{job.json()['id']}", headers


def shown(count: int, rounds: list[Round]) -> str:
    """A row of the table: medians."""

    def median(values: list[float]) -> float:
        return statistics.median(values)

    cpu = [median([each.cpu_ms[name] for each in rounds]) for name in rounds[0].cpu_ms]
    return (
        f"| {count} | {median([each.per_second for each in rounds]):,.0f} | {median([each.p50_ms for each in rounds]):.1f} ms | "
        f"{median([each.p99_ms for each in rounds]):.1f} ms | {' | '.join(f'{each:.2f} ms' for each in cpu)} | "
        f"{median([each.api_cores for each in rounds]):.2f} |"
    )


def main() -> None:
    """Measures and prints the table, the speed-up, and the speed-up for which the machine has room."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.processes", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=4.0)
    options = parser.parse_args()
    generator = LoadGenerator()
    found: dict[int, list[Round]] = defaultdict(list)
    with (
        migrated_database() as (_, settings),
        running_api(settings) as one,
        running_api(settings, "--processes", "2") as two,
    ):
        path, headers = one_job(settings, one.url)
        shared = {
            "Postgres": child_named("postgres"),
            "Redis": child_named("valkey"),
            "load": generator.pid,
        }
        for _ in range(options.rounds + 1):  # the first one warms up
            for count, api in zip(COUNTS, (one, two), strict=True):
                request = request_bytes("GET", api.url + path, headers)
                parts = {"API": api.pids[0], **shared}
                found[count].append(measure(api, generator, request, parts, options.seconds))
    generator.stop()
    print(f"GET one job, {CALLERS} callers, {os.cpu_count()} cores, medians of {options.rounds} interleaved rounds\n")
    print("| processes | requests a second | p50 | p99 | CPU: API | Postgres | Redis | load | cores used by the API |")
    print("|---|---|---|---|---|---|---|---|---|")
    for count, rounds in found.items():
        print(shown(count, rounds[1:]))
    ratios = [two.per_second / one.per_second for one, two in zip(found[1][1:], found[2][1:], strict=True)]
    cpu = {name: statistics.median([each.cpu_ms[name] for each in found[2][1:]]) for name in found[2][0].cpu_ms}
    room = (os.cpu_count() or 1) * cpu["API"] / sum(cpu.values())
    print(
        f"\nspeed-up by two processes: {statistics.median(ratios):.2f} (of rounds: {min(ratios):.2f} to {max(ratios):.2f})"
    )
    print(
        f"room for it on this machine: {min(2.0, room):.2f}: of {sum(cpu.values()):.2f} ms of CPU for a request, the API "
        f"uses {cpu['API']:.2f}, and the rest needs the same {os.cpu_count()} cores"
    )


if __name__ == "__main__":
    main()
