"""examples/learning_loop.py, run as the README says on a running stack, ends with a call by the alias."""

import os
import subprocess
import sys

import pytest

from tests.stack import ROOT, DevStack


@pytest.mark.timeout(400)
def test_the_loop_ends_with_an_answer_by_the_alias(stack: DevStack) -> None:
    ready = stack.ready()
    environment = {**os.environ, "OPENAI_BASE_URL": ready["base_url"], "OPENAI_API_KEY": ready["api_key"]}
    done = subprocess.run(
        [sys.executable, "examples/learning_loop.py"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=350,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    steps = [line.split()[0] for line in done.stdout.splitlines()]
    learned = ["generated", "report", "prepared", "quote", "trained", "metrics", "compared", "compared"]
    assert steps == [*learned, "promoted", "called"], done.stdout
    base, tuned = (float(line.split()[1]) for line in done.stdout.splitlines() if line.startswith("compared"))
    assert tuned > base
    assert ready["api_key"] not in done.stdout + done.stderr
