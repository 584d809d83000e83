"""`python -m benchmarks.start [--rounds 7]`: CPU time, wall time and memory of starts, against a bare Litestar app.

In turns: `tunegate serve` and `tunegate worker` until `/readyz` first answers 200, `tunegate --help`, and a Litestar app
of one route on uvicorn until that answers. Memory is what is resident then (RSS), and what of it is the process's own
(USS, without pages of libraries that others may share); `--help` has ended by then. A round before the first is not counted: it writes the byte
code, which an environment variable would forbid (PYTHONDONTWRITEBYTECODE), and without which each start compiles every
module. At the end, the CPU time of the API's imports by top-level package.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import httpx2

from benchmarks.servers import READY_SECONDS, cpu_seconds, memory_mb, migrated_database
from service.settings import Settings
from tests.faults.processes import Process, Program, environment
from tests.stack import ROOT

TUNEGATE = str(ROOT / ".venv/bin/tunegate")
POLL_SECONDS = 0.01
SHOWN_PACKAGES = 12
BARE = """
import socket, sys
import uvicorn
from litestar import Litestar, get

@get("/readyz")
async def readyz() -> dict[str, str]:
    return {"status": "ok"}

app = Litestar([readyz], openapi_config=None)
config = uvicorn.Config(app, loop="uvloop", http="httptools", access_log=False, log_config=None)
uvicorn.Server(config).run(sockets=[socket.socket(fileno=int(sys.argv[1]))])
"""


@dataclasses.dataclass(frozen=True, slots=True)
class Start:
    """One start: CPU and wall seconds until the first answer, and MB (of a million bytes) then."""

    cpu: float
    wall: float
    rss: float
    uss: float


def main() -> None:
    """Measure the starts in turns and print the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.start")
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    with migrated_database() as (_, settings):
        ways: dict[str, Callable[[], Start]] = {
            "bare Litestar app": lambda: _served([sys.executable, "-c", BARE], settings),
            "`tunegate serve`": lambda: _served([TUNEGATE, "serve", "--fd"], settings),
            "`tunegate worker`": lambda: _worker(settings),
            "`tunegate --help`": _help,
        }
        found: dict[str, list[Start]] = {name: [] for name in ways}
        for number in range(rounds + 1):
            for name, start in ways.items():
                one = start()
                if number > 0:
                    found[name].append(one)
        imports = [_import_times() for _ in range(rounds)]
    _print_starts({name: _median(starts) for name, starts in found.items()}, rounds)
    _print_imports(imports)


def _served(command: list[str], settings: Settings) -> Start:
    """A program that serves on the socket whose number is its last argument."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.set_inheritable(True)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/readyz"
        return _started([*command, str(listener.fileno())], settings, url, (listener.fileno(),))


def _worker(settings: Settings) -> Start:
    """A worker, which answers on its internal listener."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    settings = dataclasses.replace(settings, metrics_port=port)
    return _started([TUNEGATE, "worker"], settings, f"http://127.0.0.1:{port}/readyz")


def _started(command: list[str], settings: Settings, url: str, pass_fds: tuple[int, ...] = ()) -> Start:
    with tempfile.TemporaryDirectory() as folder, httpx2.Client(timeout=READY_SECONDS) as client:
        program = Program(
            name="measured",
            command=command,
            environment=environment(settings),
            log=Path(folder) / "log",
            pass_fds=pass_fds,
        )
        begun = time.perf_counter()
        process = Process(program).start()
        try:
            while not _answers(client, url):
                if not process.alive or time.perf_counter() - begun > READY_SECONDS:
                    raise SystemExit(f"{command} does not become ready:\n{process.output()}")
                time.sleep(POLL_SECONDS)
            wall = time.perf_counter() - begun
            return Start(cpu_seconds(process.pid), wall, memory_mb(process.pid), _own_mb(process.pid))
        finally:
            process.kill()


def _answers(client: httpx2.Client, url: str) -> bool:
    try:
        return client.get(url).status_code == 200
    except httpx2.HTTPError:
        return False


def _own_mb(pid: int) -> float:
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in rollup if line.startswith("Private_")) * 1024 / 1e6


def _help() -> Start:
    begun = time.perf_counter()
    process = subprocess.Popen([TUNEGATE, "--help"], stdout=subprocess.DEVNULL, env=_environment())
    _, status, used = os.wait4(process.pid, 0)
    assert status == 0
    return Start(used.ru_utime + used.ru_stime, time.perf_counter() - begun, 0.0, 0.0)


def _import_times() -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.import_times"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=_environment(), cwd=ROOT)
    times: dict[str, float] = json.loads(done.stdout)
    return times


def _environment() -> dict[str, str]:
    """This process's environment, with byte code."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def _median(starts: list[Start]) -> Start:
    return Start(*(statistics.median(getattr(each, name) for each in starts) for name in Start.__slots__))


def _print_starts(found: dict[str, Start], rounds: int) -> None:
    bare = found["bare Litestar app"]
    print(f"medians of {rounds} interleaved rounds, {os.cpu_count()} cores\n")
    print("| start | CPU s | : bare | wall s | : bare | RSS, MB | : bare | USS, MB |")
    print("|---|---|---|---|---|---|---|---|")
    for name, one in found.items():
        cells = [f"{one.cpu:.2f}", f"{one.cpu / bare.cpu:.2f}", f"{one.wall:.2f}", f"{one.wall / bare.wall:.2f}"]
        memory = [f"{one.rss:.0f}", f"{one.rss / bare.rss:.2f}", f"{one.uss:.0f}"] if one.rss else ["", "", ""]
        print(f"| {' | '.join([name, *cells, *memory])} |")


def _print_imports(rounds: list[dict[str, float]]) -> None:
    packages = {name for each in rounds for name in each}
    spent = {name: statistics.median(each.get(name, 0.0) for each in rounds) for name in packages}
    total = sum(spent.values())
    print(f"\nimports of the API: {total:.0f} ms of CPU time\n\n| package | ms | share |\n|---|---|---|")
    for name in sorted(spent, key=spent.__getitem__, reverse=True)[:SHOWN_PACKAGES]:
        print(f"| {name} | {spent[name]:.0f} | {spent[name] / total:.0%} |")


if __name__ == "__main__":
    main()
