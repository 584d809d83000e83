"""The supervisor, with tiny programs that live, die, linger and leave children behind."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event

import pytest

from cli.supervisor import (
    GUARD,
    RESTART_DELAYS_SECONDS,
    Interrupted,
    Program,
    ProgramFailed,
    Supervisor,
    log_tail,
    restart_delay_seconds,
)
from tests.stack import ROOT, is_running

PATIENCE_SECONDS = 90.0
LONGER_THAN_ANY_TEST_SECONDS = 1000.0
SLEEPS = "import time; time.sleep(600)"
IGNORES_SIGTERM = "import signal, time; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"
LEAVES_A_CHILD = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(child.pid, flush=True)
time.sleep(600)
"""


class Rig:
    """A supervisor with a folder for logs, and what it reported."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.changes = 0
        self.said: list[str] = []
        self.interrupt, self.hurry = Event(), Event()
        self.supervisor = Supervisor(
            on_change=self._changed, say=self.said.append, interrupt=self.interrupt, hurry=self.hurry
        )

    def _changed(self) -> None:
        self.changes += 1

    def program(
        self, name: str, code: str, *, ready: Callable[[], bool] | None = None, stop_seconds: float = 10.0
    ) -> Program:
        return Program(
            name=name,
            command=[sys.executable, "-c", code],
            log=self.folder / f"{name}.log",
            environment={"PATH": os.defpath},
            ready=ready,
            stop_seconds=stop_seconds,
        )

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()

    def tick_until(self, condition: Callable[[], bool], *, seconds: float = PATIENCE_SECONDS) -> None:
        began = time.monotonic()
        while not condition():
            assert time.monotonic() - began < seconds, f"not within {seconds} s; said: {self.said}"
            self.supervisor.tick()
            time.sleep(0.01)


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path)
    yield made
    made.hurry.set()
    made.supervisor.stop(list(made.supervisor.pids()))


def wait_for(condition: Callable[[], bool], *, seconds: float = PATIENCE_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


class TestRestarts:
    def test_a_killed_program_comes_back_under_a_new_pid(self, rig: Rig) -> None:
        rig.supervisor.start(rig.program("sleeper", SLEEPS))
        first = rig.supervisor.pids()["sleeper"]
        os.kill(first, signal.SIGKILL)
        wait_for(lambda: not is_running(first))
        rig.supervisor.tick()
        assert rig.supervisor.pids()["sleeper"] != first, "the first look after a death starts it again"
        assert rig.changes == 1
        assert rig.said == ["sleeper ended by SIGKILL, starting it again"]
        assert is_running(rig.supervisor.pids()["sleeper"])

    def test_a_crash_loop_is_reported_once_with_the_end_of_the_log_and_continues(self, rig: Rig) -> None:
        rig.supervisor.start(rig.program("broken", "raise SystemExit('no such thing')"))

        def loops() -> list[str]:
            return [text for text in rig.said if "4 times in a row" in text]

        rig.tick_until(lambda: bool(loops()))
        before = rig.changes
        rig.tick_until(lambda: rig.changes >= before + 2)
        (reported,) = loops()
        assert "no such thing" in reported

    def test_no_delay_reaches_the_promised_two_seconds(self) -> None:
        assert restart_delay_seconds(0) == 0
        assert [restart_delay_seconds(deaths) for deaths in range(5)] == list(RESTART_DELAYS_SECONDS)
        assert restart_delay_seconds(10_000) < 1.5

    def test_what_a_dead_program_leaves_behind_is_ended(self, rig: Rig) -> None:
        rig.supervisor.start(rig.program("parent", LEAVES_A_CHILD))
        wait_for(lambda: rig.log("parent").endswith("\n"))
        child = int(rig.log("parent"))
        first = rig.supervisor.pids()["parent"]
        os.kill(first, signal.SIGKILL)
        rig.tick_until(lambda: rig.supervisor.pids().get("parent", first) != first)
        wait_for(lambda: not is_running(child))


class TestWaiting:
    def test_ready_is_asked_until_it_says_so(self, rig: Rig) -> None:
        answers = iter([False, False, True])
        rig.supervisor.start(rig.program("slow", SLEEPS, ready=lambda: next(answers)))
        rig.supervisor.wait_ready("slow", timeout_seconds=PATIENCE_SECONDS)
        assert next(answers, "spent") == "spent"

    def test_a_program_that_cannot_start_fails_with_the_end_of_its_log(self, rig: Rig) -> None:
        rig.supervisor.start(rig.program("broken", "raise SystemExit('bad flag')", ready=lambda: False))
        with pytest.raises(ProgramFailed, match=r"(?s)ended 4 times.*bad flag"):
            rig.supervisor.wait_ready("broken", timeout_seconds=PATIENCE_SECONDS)

    def test_a_program_that_never_answers_fails(self, rig: Rig) -> None:
        rig.supervisor.start(rig.program("mute", SLEEPS, ready=lambda: False))
        with pytest.raises(ProgramFailed, match="did not get ready"):
            rig.supervisor.wait_ready("mute", timeout_seconds=0.2)

    def test_a_program_that_does_not_exist_fails_by_name(self, rig: Rig) -> None:
        missing = Program(name="ghost", command=["/no/such/program"], log=rig.folder / "ghost.log", ready=lambda: False)
        rig.supervisor.start(missing)
        with pytest.raises(ProgramFailed, match="cannot start /no/such/program"):
            rig.supervisor.wait_ready("ghost", timeout_seconds=PATIENCE_SECONDS)

    def test_an_interrupt_ends_the_wait(self, rig: Rig) -> None:
        rig.supervisor.start(rig.program("mute", SLEEPS, ready=lambda: False))
        rig.interrupt.set()
        with pytest.raises(Interrupted):
            rig.supervisor.wait_ready("mute", timeout_seconds=PATIENCE_SECONDS)


class TestStopping:
    def test_groups_end_one_after_the_other(self, rig: Rig) -> None:
        for name in ("first", "second"):
            rig.supervisor.start(rig.program(name, SLEEPS))
        pids = rig.supervisor.pids()
        rig.supervisor.stop(["first"])
        assert not is_running(pids["first"])
        assert is_running(pids["second"])
        rig.supervisor.stop(["second", "never started"])
        assert not is_running(pids["second"])

    def test_a_deaf_program_is_killed_when_its_time_is_over(self, rig: Rig) -> None:
        rig.supervisor.start(rig.program("deaf", IGNORES_SIGTERM, stop_seconds=0.3))
        wait_for(lambda: "deaf" in rig.log("deaf"))
        pid = rig.supervisor.pids()["deaf"]
        rig.supervisor.stop(["deaf"])
        assert not is_running(pid)

    def test_hurry_does_not_wait(self, rig: Rig) -> None:
        rig.supervisor.start(rig.program("deaf", IGNORES_SIGTERM, stop_seconds=LONGER_THAN_ANY_TEST_SECONDS))
        wait_for(lambda: "deaf" in rig.log("deaf"))
        pid = rig.supervisor.pids()["deaf"]
        rig.hurry.set()
        rig.supervisor.stop(["deaf"])
        assert not is_running(pid)

    def test_a_paused_program_ends_too(self, rig: Rig) -> None:
        rig.supervisor.start(rig.program("paused", SLEEPS, stop_seconds=LONGER_THAN_ANY_TEST_SECONDS))
        pid = rig.supervisor.pids()["paused"]
        os.kill(pid, signal.SIGSTOP)
        rig.supervisor.stop(["paused"])
        assert not is_running(pid)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux signals the children of a killed process")
def test_children_die_when_the_supervising_process_is_killed(tmp_path: Path) -> None:
    code = f"""
import time
from pathlib import Path
from threading import Event
from cli.supervisor import Program, Supervisor
supervisor = Supervisor(on_change=lambda: None, say=print, interrupt=Event(), hurry=Event())
supervisor.start(Program(name="x", command=[{sys.executable!r}, "-c", {SLEEPS!r}], log=Path({str(tmp_path / "x")!r})))
print(supervisor.pids()["x"], flush=True)
time.sleep(600)
"""
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    wait_for(lambda: b"sleep" in Path(f"/proc/{child}/cmdline").read_bytes() and not _is_guard(child))
    parent.kill()
    parent.wait()
    parent.stdout.close()
    wait_for(lambda: not is_running(child))


def _is_guard(pid: int) -> bool:
    return os.fsencode(GUARD) in Path(f"/proc/{pid}/cmdline").read_bytes()


def test_a_log_s_tail_is_its_last_lines(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert log_tail(log) == ""
    log.write_text("".join(f"line {number}\n" for number in range(100_000)))
    assert log_tail(log, 2) == "line 99998\nline 99999"
