"""A worker that is asked to stop is gone soon, even where Postgres and Redis hang and answer nothing."""

import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.stack import DevStack, is_running
from workers.main import END_SECONDS

SLACK_SECONDS = 60.0


@pytest.mark.timeout(400)
def test_a_worker_stops_although_nothing_answers(tmp_path: Path) -> None:
    stack = DevStack(tmp_path).start()
    hung: list[int] = []
    try:
        pids = stack.ready()["pids"]
        for pid in (pids["postgres"], pids["redis"]):  # which starts no more backends then
            os.kill(pid, signal.SIGSTOP)
            hung.append(pid)
        backends = subprocess.run(
            ["pgrep", "-P", str(pids["postgres"])], capture_output=True, text=True, check=True
        ).stdout.split()
        for pid in map(int, backends):
            with suppress(ProcessLookupError):  # it has ended meanwhile
                os.kill(pid, signal.SIGSTOP)
                hung.append(pid)
        asked_at = time.monotonic()
        os.kill(pids["worker"], signal.SIGTERM)
        while is_running(pids["worker"]):
            assert time.monotonic() - asked_at < END_SECONDS + SLACK_SECONDS
            time.sleep(0.1)
    finally:
        for pid in hung:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        stack.stop()
