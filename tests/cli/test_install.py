"""`make setup` shows how far it is, at a terminal and elsewhere, and what a step said that failed."""

import io
import os
import re
import sys
from pathlib import Path

import pytest

from cli.install import Done, Progress, Step, StepFailed, install, steps, without_uv
from tests.stack import ROOT

UV = [
    "Resolved 114 packages in 1.35s",
    "Downloading scipy (33.7MiB)",
    "Downloading numpy (16.1MiB)",
    " Downloaded numpy",
    "Prepared 114 packages in 24.63s",
    "Installed 114 packages in 2.86s",
    "Bytecode compiled 8620 files in 41.35s",
    " + numpy==2.3.5",
]
"""Lines of uv, shortened."""


def says(*lines: str, status: int = 0) -> list[str]:
    """A command that says this and ends."""
    return [sys.executable, "-c", f"import sys; print(*{lines!r}, sep='\\n'); sys.exit({status})"]


def test_what_is_done_is_counted() -> None:
    done = Done()
    texts = []
    for line in UV:
        done.read(f"{line}\n")
        texts.append(done.text)
    assert texts[1:4] == [f"{ended} of {begun} large packages downloaded" for ended, begun in ((0, 1), (0, 2), (1, 2))]
    assert texts[5] == "Installed 114 packages in 2.86s, compiling them"
    assert texts[-1] == "Bytecode compiled 8620 files in 41.35s"


def test_elsewhere_than_at_a_terminal_each_step_is_a_line_and_so_is_what_is_done() -> None:
    out = io.StringIO()
    progress = Progress(2, out, every_seconds=0)
    progress.run(Step("Fetching uv", says()))
    progress.run(Step("Installing", says(*UV)))
    lines = out.getvalue().splitlines()
    assert lines[0] == "[1/2] Fetching uv"
    assert "[2/2] Installing" in lines
    assert any(re.fullmatch(r" +\d+ s  1 of 2 large packages downloaded", line) for line in lines)
    assert "\x1b" not in out.getvalue()


def test_a_step_that_takes_less_than_five_seconds_is_one_line() -> None:
    out = io.StringIO()
    Progress(1, out).run(Step("Installing", says(*UV)))
    assert out.getvalue() == "[1/1] Installing\n"


def test_at_a_terminal_a_step_is_one_line_that_ends_with_its_seconds() -> None:
    controller, terminal = os.openpty()
    with os.fdopen(terminal, "w", encoding="utf-8") as out, os.fdopen(controller, "rb", buffering=0) as screen:
        Progress(1, out).run(Step("Installing", says(*UV)))
        shown = ""
        while "\n" not in shown:
            shown += screen.read(10_000).decode()
    assert "0 of 1 large packages downloaded" in shown
    assert shown.count("\n") == 1
    assert re.search(r"\r\x1b\[K\[1/1\] Installing  \d+ s\r\n$", shown)


def test_a_step_that_fails_says_what_its_command_said() -> None:
    progress = Progress(1, io.StringIO())
    with pytest.raises(StepFailed, match="no space left"):
        progress.run(Step("Installing", says("no space left", status=1)))
    with pytest.raises(StepFailed, match="Installing has failed with status 3"):
        progress.run(Step("Installing", [sys.executable, "-c", "raise SystemExit(3)"]))


def test_an_environment_that_is_there_is_not_made_again(tmp_path: Path) -> None:
    lock = ROOT / "requirements.lock"
    assert steps(tmp_path, lock, None)[0].title == f"Creating {tmp_path}"
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").touch()
    titles = [step.title for step in steps(tmp_path, lock, ROOT / "requirements-torch.txt")]
    assert [title.split()[0] for title in titles] == ["Installing", "Fetching", "Installing", "Installing", "Compiling"]


def test_without_uv_pip_installs_the_same() -> None:
    *_, locked, itself, _ = steps(Path(".venv"), Path("requirements.lock"), None)
    pip = [".venv/bin/python", "-m", "pip", "install", "--no-deps"]
    assert without_uv(locked, pip[0]).command == [*pip, "--require-hashes", "-r", "requirements.lock"]
    assert without_uv(itself, pip[0]).command == [*pip, "-e", "."]


def test_a_fault_ends_it_before_the_next_step(tmp_path: Path) -> None:
    out = io.StringIO()
    with pytest.raises(StepFailed, match=r"Not a directory|Unable to create"):
        install(Path(__file__) / "environment", ROOT / "requirements.lock", None, out)
    assert out.getvalue() == f"[1/5] Creating {Path(__file__) / 'environment'}\n"
