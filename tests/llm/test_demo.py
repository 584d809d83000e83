"""`tunegate demo --llm`, whole, with a tiny model in the place of the real one: so its figures mean nothing here."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cli.demo.weights import MODEL
from cli.trainer_engine import chosen_engine
from service.errors import SettingsError
from tests.cli.leftovers import nothing_is_left_of
from tests.stack import ROOT


def start(tiny_llama: Path, folder: Path) -> "subprocess.Popen[str]":
    shutil.copytree(tiny_llama, folder / "models" / MODEL)
    (folder / "tmp").mkdir()
    environ = {name: os.environ[name] for name in ("PATH", "HOME", "OMP_NUM_THREADS") if name in os.environ}
    return subprocess.Popen(
        [sys.executable, "-m", "cli", "demo", "--llm", "--models", str(folder / "models")],
        cwd=ROOT,
        env=environ | {"TMPDIR": str(folder / "tmp")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.timeout(900)
def test_it_tells_the_whole_story_and_leaves_nothing(tiny_llama: Path, tmp_path: Path) -> None:
    demo = start(tiny_llama, tmp_path)
    output, _ = demo.communicate(timeout=800)
    assert demo.returncode == 0, output
    for part in (
        "Uploaded and checked test.jsonl",
        "Price before the spend: $0.0000",
        f"Trained ft:{MODEL}:",
        "Held-out loss: ",
        "40 tickets that no model was trained on",
        "in the asked form",
        "Tickets that are in none of the files",
        "$0.0000 for the comparison",
        "tunegate dev --engine transformers",
    ):
        assert part in output
    assert "\x1b" not in output
    assert list((tmp_path / "tmp").iterdir()) == []
    nothing_is_left_of(tmp_path / "tmp")


@pytest.mark.timeout(300)
def test_an_interrupt_leaves_nothing(tiny_llama: Path, tmp_path: Path) -> None:
    demo = start(tiny_llama, tmp_path)
    deadline = time.monotonic() + 200
    while not list((tmp_path / "tmp").glob("*/logs/trainer.log")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    demo.send_signal(signal.SIGINT)
    output, _ = demo.communicate(timeout=90)
    assert demo.returncode == 130, output
    assert "Traceback" not in output
    assert list((tmp_path / "tmp").iterdir()) == []
    nothing_is_left_of(tmp_path / "tmp")


def test_a_folder_without_a_usable_model_is_refused_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="does not exist"):
        chosen_engine({}, engine="transformers", models=tmp_path / "absent")
    with pytest.raises(SettingsError, match="no model that can be used: it is empty"):
        chosen_engine({}, engine=None, models=tmp_path)
    (tmp_path / "broken").mkdir()
    with pytest.raises(SettingsError, match="broken is no model: it has neither"):
        chosen_engine({}, engine=None, models=tmp_path)
