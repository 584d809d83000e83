"""`python -m benchmarks.datasets [--size 40] [--runs 5]`: the dataset report against the cookbook's script.

Whole processes, one after the other, on one generated file of `--size` megabytes: `tunegate check`, the
cookbook's script, reading the JSON alone, and counting the tokens alone. Times are the best of all runs. Memory is the
proportional share (PSS) of all processes of a command together, at its highest, sampled every 100 ms; beside it the
largest resident set of one of them. It is measured in a separate run before the others, because sampling 200 MB takes
the system 6 ms. Fails if the two totals of tokens differ.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.corpus import MEGABYTE, write_corpus
from service.catalogue.tokens import ENCODINGS_DIR

ROOT = Path(__file__).parents[1]
SAMPLE_EVERY_SECONDS = 0.1


@dataclass
class Measured:
    """One command and its runs. `mapped_bytes` is of all its processes together, `resident_bytes` of the largest."""

    name: str
    command: list[str]
    wall_seconds: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)
    mapped_bytes: int = 0
    resident_bytes: int = 0
    output: bytes = b""

    def sample_memory(self) -> None:
        """Runs the command once, as a separate process, and samples its memory."""
        with self._started() as process:
            start = time.monotonic()
            while process.poll() is None:
                self._sample(process.pid)
                time.sleep(SAMPLE_EVERY_SECONDS if time.monotonic() - start > 1 else SAMPLE_EVERY_SECONDS / 10)

    def run(self) -> None:
        """Runs the command once, as a separate process, and measures its time."""
        start = time.monotonic()
        with self._started() as process:
            _, status, usage = os.wait4(process.pid, 0)
            self.wall_seconds.append(time.monotonic() - start)
            self.cpu_seconds.append(usage.ru_utime + usage.ru_stime)
            process.returncode = os.waitstatus_to_exitcode(status)

    @contextmanager
    def _started(self) -> Iterator[subprocess.Popen[bytes]]:
        environment = {**os.environ, "TIKTOKEN_CACHE_DIR": str(ENCODINGS_DIR)}
        with tempfile.TemporaryFile() as output:
            process = subprocess.Popen(self.command, cwd=ROOT, env=environment, stdout=output)
            yield process
            if process.returncode:
                raise SystemExit(f"{self.name} ended with {process.returncode}")
            output.seek(0)
            self.output = output.read()

    def _sample(self, pid: int) -> None:
        mapped = 0
        for one in _tree(pid):
            try:
                rollup = Path(f"/proc/{one}/smaps_rollup").read_text(encoding="ascii")
            except OSError:
                continue
            sizes = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in rollup.splitlines()[1:]}
            mapped += sizes["Pss"]
            self.resident_bytes = max(self.resident_bytes, sizes["Rss"])
        self.mapped_bytes = max(self.mapped_bytes, mapped)


def main(arguments: list[str] | None = None) -> None:
    """Measures and prints one table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.datasets")
    parser.add_argument("--size", type=int, default=40, help="megabytes of the file (default 40)")
    parser.add_argument("--runs", type=int, default=5, help="runs of each command (default 5)")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="tunegate-bench-") as folder:
        corpus = Path(folder) / "corpus.jsonl"
        rows = write_corpus(corpus, options.size * MEGABYTE)
        size_bytes = corpus.stat().st_size
        python = sys.executable
        ours = Measured("tunegate check", [python, "-m", "cli", "check", str(corpus), "--json"])
        cookbook = Measured("cookbook's script", [python, "benchmarks/cookbook.py", str(corpus)])
        parsing = Measured("reading JSON alone", [python, "-m", "benchmarks.alone", "parse", str(corpus)])
        counting = Measured("counting alone", [python, "-m", "benchmarks.alone", "count", str(corpus)])
        everything = [ours, cookbook, parsing, counting]
        for measured in everything:
            measured.sample_memory()
        for _ in range(options.runs):
            for measured in everything:
                measured.run()
        print(f"{size_bytes / MEGABYTE:.0f} MB, {rows:,} rows, {os.cpu_count()} cores, best of {options.runs}")
        for row in _table(everything, cookbook, size_bytes):
            print(row)
        report, script = json.loads(ours.output), json.loads(cookbook.output)
        theirs, same = script["tokens"], report["cookbook"]["tokens"] == script["tokens"]
        print(
            f"tokens: {report['cookbook']['tokens']:,} by ours, {theirs:,} by the script: {'equal' if same else 'NOT EQUAL'}"
        )
        if not same:
            raise SystemExit(1)


def _table(everything: list[Measured], base: Measured, size_bytes: int) -> list[str]:
    rows = [f"{'':20}{'wall s':>8}{'MB/s':>8}{'speed-up':>10}{'CPU s':>8}{'CPU less':>10}{'all MB':>8}{'one MB':>8}"]
    for measured in everything:
        wall, cpu = min(measured.wall_seconds), min(measured.cpu_seconds)
        rows.append(
            f"{measured.name:20}{wall:8.2f}{size_bytes / MEGABYTE / wall:8.1f}{min(base.wall_seconds) / wall:9.1f}x"
            f"{cpu:8.2f}{min(base.cpu_seconds) / cpu:9.1f}x"
            f"{measured.mapped_bytes / MEGABYTE:8.0f}{measured.resident_bytes / MEGABYTE:8.0f}"
        )
    return rows


def _tree(pid: int) -> list[int]:
    found = [pid]
    for parent in found:
        try:
            children = Path(f"/proc/{parent}/task/{parent}/children").read_text(encoding="ascii").split()
        except OSError:
            continue
        found += map(int, children)
    return found


if __name__ == "__main__":
    main()
