"""A report is the same however the file is cut into blocks, and however many processes read them."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from random import Random
from typing import Any
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.datasets.checks import completion_file, duplicates, near_duplicates, reinforcement, variety
from service.datasets.duplicates import exact
from service.datasets.parsing import lines
from service.datasets.report import format_detection, parts
from service.datasets.report.build import build_report
from service.datasets.report.process_pool import MAX_QUEUED_PER_WORKER, map_in_order
from service.datasets.report.profiler import Profiler
from service.datasets.report_schema import FileReport
from service.processes.guard import LimitReached, guarded, limit_memory
from tests.datasets.rows import MODEL, OLD_MODEL, asked, calling, chat, completion, graded, jsonl, message, pair
from tests.datasets.test_fuzz import any_value, mutated

SMALL = [
    (duplicates, "_MAX_SYSTEMS", 3),
    (exact, "PART_ROWS", 7),
    (variety, "_MAX_LABELS", 4),
    (variety, "_MAX_OUTLIERS", 2),
    (variety, "_MAX_VARIETY_LINES", 25),
    (near_duplicates, "MAX_LINES", 25),
    (reinforcement, "_MAX_FIELDS", 2),
    (reinforcement, "_MAX_LINES_PER_FIELD", 3),
    (completion_file, "_MAX_SEARCHED_LINES", 20),
    (completion_file, "_MAX_SEARCHED_CHARS", 400),
    (completion_file, "_MAX_DISTINCT", 5),
    (parts, "_MAX_ITEM_FIELDS", 4),
    (format_detection, "_VOTING_ROWS", 5),
    (format_detection, "_INSPECTED_BYTES", 900),
]
"""Bounds, so low that a file of forty lines goes beyond each."""

DEADLINE_SECONDS = 30.0

LONG = "A longer answer, of which the first words are always the same, and which has no full stop at"

ODD_LINES: list[Any] = [
    *("", "  \r", "{", '{"a": "open', 'closed"}', b'{"a": "\xff"}', "[1]", '{"a": 1, "a": 2}', "x" * 700),
]


def some_row(random: Random, kind: str) -> Any:
    number = random.randrange(12)
    match kind:
        case "chat":
            system = [message("system", f"Be brief {random.randrange(6)}.")] if random.random() < 0.6 else []
            answer = random.choice(
                ["yes", "no", "Yes.", "Sure! It is so.", LONG, f"{LONG} {number}", "我无法提供帮助。"]
            )
            return chat(
                *system, message("user", f"Question {number}?"), message("assistant", answer * (1 + number // 9))
            )
        case "completion":
            return completion(f"Text {number} ###", f" label {random.randrange(9)}")
        case "preference":
            return pair("Good. " * random.randint(1, 4), f"Bad {number}.")
        case _:
            return graded(**{f"field{index}": 1 for index in range(5) if random.random() < 0.9})


def some_file(random: Random) -> bytes:
    """Forty lines, most of one format, with faults, blanks, duplicates, and others in between."""
    kind = random.choice(["chat", "chat", "completion", "preference", "reinforcement"])
    rows: list[Any] = []
    for _ in range(random.randrange(45)):
        chance = random.random()
        if chance < 0.75:
            rows.append(some_row(random, kind))
        elif chance < 0.8 and rows:
            rows.append(random.choice(rows))
        elif chance < 0.85:
            rows.append(random.choice(ODD_LINES))
        elif chance < 0.9:
            rows.append(json.dumps(mutated(random)))
        elif chance < 0.95:
            rows.append(json.dumps(any_value(random)))
        else:
            rows.append(
                random.choice(
                    [calling(), asked(f"Mail ann{len(rows)}@corp.com, 4111 1111 1111 1111", "好的,没问题!" * 9)]
                )
            )
    data = jsonl(*rows)
    if random.random() < 0.2:
        data = data.replace(b"\n", b"\r\n")
    if random.random() < 0.1:
        data = b"\xef\xbb\xbf" + data
    return data if random.random() < 0.7 else data[:-1]


def report_of(chunks: Any, **more: Any) -> FileReport:
    return build_report(
        chunks, file_id="f", prices=[], max_line_bytes=600, listed_per_code=3, **{"model": MODEL, **more}
    )


def cut(data: bytes, random: Random) -> Iterator[bytes]:
    at = 0
    while at < len(data):
        size = random.choice([1, 10, 100, 1_000, 10_000])
        yield data[at : at + size]
        at += size


@pytest.fixture(autouse=True)
def _low_bounds() -> Iterator[None]:
    with ExitStack() as stack:
        for module, name, bound in SMALL:
            assert hasattr(module, name)
            stack.enter_context(mock.patch.object(module, name, bound))
        yield


@given(seed=st.integers(0, 2**64))
@settings(max_examples=120, deadline=None)
def test_any_blocks_give_the_same_report(seed: int) -> None:
    random = Random(seed)
    data = some_file(random)
    model = random.choice([MODEL, OLD_MODEL])
    whole = report_of([data], model=model)
    for size in (1, random.randint(2, 3_000)):
        with mock.patch.object(lines, "BLOCK_BYTES", size):
            assert report_of(cut(data, random), model=model) == whole


@pytest.mark.parametrize("processes", [2, 3])
@pytest.mark.parametrize("quick", [False, True])
@pytest.mark.parametrize("on_disk", [False, True])
def test_any_number_of_processes_gives_the_same_report(
    processes: int, quick: bool, on_disk: bool, tmp_path: Path
) -> None:
    for seed in range(4):
        random = Random(seed)
        data = some_file(random)
        whole = report_of([data])
        (tmp_path / "f").write_bytes(data)
        path = tmp_path / "f" if on_disk else None
        with mock.patch.object(lines, "BLOCK_BYTES", 500):
            assert report_of([data], processes=processes, quick=quick, path=path) == whole


def test_a_file_that_shrinks_meanwhile_is_no_defect(tmp_path: Path) -> None:
    data = some_file(Random(1))
    (tmp_path / "f").write_bytes(data[: len(data) // 3])
    with mock.patch.object(lines, "BLOCK_BYTES", 500):
        report = report_of([data], processes=2, path=tmp_path / "f")
    assert report.bytes == len(data)


def test_a_profiler_changes_nothing_and_measures_every_process() -> None:
    data = some_file(Random(3))
    profiler = Profiler()
    with mock.patch.object(lines, "BLOCK_BYTES", 500):
        assert report_of([data], processes=2, profiler=profiler) == report_of([data])
    assert {"counting tokens", "reading lines and JSON", "merging parts", "filler_opening"} <= set(profiler.seconds)


def test_progress_of_several_processes_ascends_to_the_end() -> None:
    data = jsonl(*[asked(f"Question {index}?") for index in range(200)])
    reported: list[int] = []
    with mock.patch.object(lines, "BLOCK_BYTES", 500):
        report_of([data], processes=2, progress=reported.append)
    assert reported == sorted(reported)
    assert len(reported) > 20
    assert reported[-1] == len(data)


def test_a_report_starts_no_threads_that_a_fork_would_lose() -> None:
    """Checks run in forked processes; a library that keeps a pool of threads would make them wait for ever."""
    script = (
        "import os; from tests.datasets.rows import asked, jsonl, report_on; "
        "report_on(jsonl(*[asked(f'Question {i}? ' * 40, '好的' * i) for i in range(400)])); "
        "print(len(os.listdir('/proc/self/task')))"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1"


class TestProcessPool:
    @pytest.mark.parametrize("processes", [1, 2, 4])
    def test_results_come_in_order(self, processes: int) -> None:
        def work(number: int) -> tuple[int, int]:
            return number * number, os.getpid()

        with map_in_order(range(100), work, processes=processes) as results:
            done = list(results)
        assert [square for square, _ in done] == [number * number for number in range(100)]
        assert len({pid for _, pid in done}) == processes

    def test_a_failure_is_raised_here(self) -> None:
        def work(number: int) -> int:
            return 1 // (5 - number)

        with pytest.raises(ZeroDivisionError), map_in_order(range(100), work, processes=2) as results:
            list(results)

    def test_a_process_that_dies_is_reported(self) -> None:
        def work(number: int) -> int:
            os._exit(1)

        with pytest.raises(RuntimeError, match="ended"), map_in_order(range(100), work, processes=2) as results:
            list(results)

    def test_a_process_that_reaches_a_limit_is_reported_with_what_it_did(self) -> None:
        def work(number: int) -> None:
            with guarded(f"squaring {number}", cpu_seconds=0.1):
                while number == 3:
                    pass

        with pytest.raises(LimitReached) as reached, map_in_order(range(4), work, processes=2) as results:
            list(results)
        assert (reached.value.limit, reached.value.label) == ("time", "squaring 3")

    def test_each_process_has_a_record_of_its_own(self) -> None:
        """The one that reaches its limit is named, not the one that wrote its label last."""
        entered, written = (multiprocessing.get_context("fork").Event() for _ in range(2))

        def work(number: int) -> None:
            if number < MAX_QUEUED_PER_WORKER:  # the first process gets these
                assert entered.wait(DEADLINE_SECONDS)
                with guarded("reading line 1", cpu_seconds=60):
                    written.set()
                    time.sleep(DEADLINE_SECONDS)
            with guarded("reading line 2", cpu_seconds=0.1):
                entered.set()
                assert written.wait(DEADLINE_SECONDS)
                while True:
                    pass

        tasks = range(MAX_QUEUED_PER_WORKER + 1)
        with pytest.raises(LimitReached) as reached, map_in_order(tasks, work, processes=2) as results:
            list(results)
        assert (reached.value.limit, reached.value.label) == ("time", "reading line 2")

    def test_a_process_without_memory_is_reported(self) -> None:
        def work(number: int) -> None:
            limit_memory(64 << 20)
            with guarded(f"allocating {number}", cpu_seconds=60):
                bytearray(1 << 30)

        with pytest.raises(LimitReached) as reached, map_in_order(range(1), work, processes=2) as results:
            list(results)
        assert (reached.value.limit, reached.value.label) == ("memory", "allocating 0")

    def test_tasks_are_not_taken_far_ahead(self) -> None:
        tasks = iter(range(1_000))
        with map_in_order(tasks, abs, processes=2) as results:
            for number in results:
                assert next(tasks, 1_000) <= number + 64
