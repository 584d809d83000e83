"""`tunegate demo`, whole: it works, spends nothing, prints plainly into a pipe and leaves nothing behind."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cli.demo import byte_story
from cli.demo.steps import Prompt
from tests.cli.leftovers import nothing_is_left_of
from tests.stack import ROOT

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")

ELSEWHERE = {
    "OPENAI_BASE_URL": "http://127.0.0.1:9/v1",
    "OPENAI_API_KEY": "sk-real-money",
    "DATABASE_URL": "postgresql://nobody@127.0.0.1:9/production",
    "REDIS_URL": "redis://127.0.0.1:9",
    "TUNEGATE_POLL_SECONDS": "600",
}
"""A caller's environment that must not matter."""


def test_the_question_that_it_calls_held_out_is_in_no_training_example() -> None:
    held_out = Prompt.first_of(byte_story.TRAINING.folder / "valid.jsonl").text
    assert held_out not in (byte_story.TRAINING.folder / "train.jsonl").read_text(encoding="utf-8")


def start(folder: Path) -> "subprocess.Popen[str]":
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return subprocess.Popen(
        [sys.executable, "-m", "cli", "demo"],
        cwd=ROOT,
        env=kept | ELSEWHERE | {"TRAINER_PACE_SECONDS": "0.01", "TMPDIR": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.timeout(400)
def test_it_tells_the_whole_story_and_leaves_nothing(tmp_path: Path) -> None:
    demo = start(tmp_path)
    output, _ = demo.communicate(timeout=300)
    assert demo.returncode == 0, output
    for part in (
        "Uploaded and checked train.jsonl",
        "Price before the spend: $",
        "Received fine_tuning.job.succeeded",
        "signature verified",
        "Canberra",
        "make run",
    ):
        assert part in output
    held_out, trained = (
        Prompt.first_of(byte_story.TRAINING.folder / file).text for file in ("valid.jsonl", "train.jsonl")
    )
    assert output.index(f"“{held_out}”") < output.index("Held out: ") < output.index(f"“{trained}”")
    assert re.search(r"^ +Train +Price *$", output, re.MULTILINE), "no column is empty"
    assert "\x1b" not in output
    assert list(tmp_path.iterdir()) == []
    nothing_is_left_of(tmp_path)


def test_an_interrupt_leaves_nothing(tmp_path: Path) -> None:
    demo = start(tmp_path)
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("*/logs/worker.log")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    demo.send_signal(signal.SIGINT)
    output, _ = demo.communicate(timeout=90)
    assert demo.returncode == 130, output
    assert "interrupted" in output
    assert "Traceback" not in output
    assert list(tmp_path.iterdir()) == []
    nothing_is_left_of(tmp_path)
