"""`python -m benchmarks.api [--rounds 7] [--seconds 2] [--callers 16] [--no-profile]`: reads against bare routes.

Each read of the API is measured in turns with a bare Litestar route that answers the same document: the same columns in as
many queries by SQLAlchemy Core on an engine with as many connections, without keys, limits and scopes, served by uvicorn
with the same options. `/livez` has no query on either side. Every bare answer is compared with the API's once. Then an API
in a process that samples its own stack shows which parts the time goes to.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field

import httpx2
import msgspec

from benchmarks.api_parts import PROFILE_PATH, profiled_api
from benchmarks.bare_routes import create_bare_app
from benchmarks.load import LoadGenerator, request_bytes
from benchmarks.reads_data import Project, make_project
from benchmarks.servers import Served, migrated_database, postgres_cpu_seconds, running_api, running_app
from service.settings import Settings
from tests.stack import Servers, run_async

Paths = Callable[[Project], list[str]]
READS: Mapping[str, Paths] = {
    "GET one job": lambda project: [f"/v1/fine_tuning/jobs/{job_id}" for job_id in project.job_ids],
    "GET /v1/models": lambda project: ["/v1/models"],
    "GET /v1/files?limit=20": lambda project: ["/v1/files?limit=20"],
    "GET /livez": lambda project: ["/livez"],
}
PROFILE_SECONDS = 4.0


@dataclass(slots=True)
class Measured:
    """The rounds of one read on one side: answers a second, median waits, CPU milliseconds an answer."""

    per_second: list[float] = field(default_factory=list)
    p50_ms: list[float] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)
    postgres_cpu_ms: list[float] = field(default_factory=list)

    def cells(self) -> str:
        """The medians, as cells of a Markdown table."""
        shown = (f"{statistics.median(each):{form}}" for each, form in self._columns())
        return " | ".join(shown)

    def _columns(self) -> list[tuple[list[float], str]]:
        return [(self.per_second, ",.0f"), (self.p50_ms, ".1f"), (self.cpu_ms, ".2f"), (self.postgres_cpu_ms, ".2f")]


def main() -> None:
    """Measure every read in interleaved rounds, then profile."""
    options = _options()
    with migrated_database() as (servers, settings), ExitStack() as running:
        api = running.enter_context(running_api(settings))
        bare = running.enter_context(running_app(create_bare_app, settings))
        project = run_async(make_project(settings, api.url))
        load = LoadGenerator()
        running.callback(load.stop)
        print("| read | side | answers/s | p50 ms | CPU ms, process | CPU ms, Postgres | ratio: answers | ratio: CPU |")
        print("|---|---|---|---|---|---|---|---|")
        for name, paths_of in READS.items():
            if options.only not in name:
                continue
            paths = paths_of(project)
            _check_equal(api, bare, paths, project)
            sides = {"API": (api, Measured()), "bare": (bare, Measured())}
            for number in range(options.rounds + 1):
                for served, measured in sides.values():
                    _round(served, measured, paths, project, load, servers, options, warm_up=number == 0)
            _print(name, {side: measured for side, (_, measured) in sides.items()})
        if options.profile:
            _profile(settings, project, load, options)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each round, on each side")
    parser.add_argument("--callers", type=int, default=16)
    parser.add_argument("--only", default="", help="a part of the name of the reads to measure")
    parser.add_argument("--no-profile", dest="profile", action="store_false")
    return parser.parse_args()


def _round(
    served: Served,
    measured: Measured,
    paths: list[str],
    project: Project,
    load: LoadGenerator,
    servers: Servers,
    options: argparse.Namespace,
    *,
    warm_up: bool,
) -> None:
    requests = [request_bytes("GET", served.url + path, project.headers) for path in paths]
    cpu, postgres = served.cpu_seconds(), postgres_cpu_seconds(servers)
    result = load.run(served.url, requests, callers=options.callers, seconds=options.seconds / (4 if warm_up else 1))
    if warm_up:
        return
    measured.per_second.append(result.per_second)
    measured.p50_ms.append(result.p50_ms)
    measured.cpu_ms.append((served.cpu_seconds() - cpu) / result.answers * 1000)
    measured.postgres_cpu_ms.append((postgres_cpu_seconds(servers) - postgres) / result.answers * 1000)


def _print(name: str, sides: Mapping[str, Measured]) -> None:
    api, bare = sides["API"], sides["bare"]
    answers = statistics.median(a / b for a, b in zip(api.per_second, bare.per_second, strict=True))
    cpu = statistics.median(b / a for a, b in zip(api.cpu_ms, bare.cpu_ms, strict=True))
    print(f"| {name} | API | {api.cells()} | {answers:.2f} | {cpu:.2f} |")
    print(f"| | bare | {bare.cells()} | | |", flush=True)


def _check_equal(api: Served, bare: Served, paths: list[str], project: Project) -> None:
    for path in paths:
        answers = [httpx2.get(served.url + path, headers=project.headers) for served in (api, bare)]
        ours, theirs = (msgspec.json.decode(answer.content) for answer in answers)
        if ours != theirs:
            raise SystemExit(f"{path} is answered differently:\n{answers[0].text}\n{answers[1].text}")


def _profile(settings: Settings, project: Project, load: LoadGenerator, options: argparse.Namespace) -> None:
    with running_app(profiled_api, settings) as served:
        httpx2.get(served.url + PROFILE_PATH)
        for name, paths_of in READS.items():
            if options.only not in name:
                continue
            requests = [request_bytes("GET", served.url + path, project.headers) for path in paths_of(project)]
            load.run(served.url, requests, callers=options.callers, seconds=0.5)
            httpx2.get(served.url + PROFILE_PATH)
            load.run(served.url, requests, callers=options.callers, seconds=PROFILE_SECONDS)
            shares = msgspec.json.decode(httpx2.get(served.url + PROFILE_PATH).content, type=dict[str, float])
            print(f"\n{name}: shares of the API process's CPU time")
            for part, share in sorted(shares.items(), key=lambda each: -each[1]):
                print(f"  {share:6.1%}  {part}")


if __name__ == "__main__":
    main()
