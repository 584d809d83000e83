"""`make setup` and `make setup-llm`: an environment from a lock, and how far it is.

Nothing is installed when it runs, so it needs only the standard library. At a terminal one line shows the step, its
seconds and what the installer has done; elsewhere there is a line every few seconds.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, Queue
from threading import Thread
from typing import TextIO

MIN_PYTHON = (3, 11)
PLAIN_SECONDS = 5.0
"""How often a step that goes on writes a line, where there is no terminal."""

TERMINAL_SECONDS = 0.5
"""How often the line at a terminal is written again."""

NO_COLUMNS = 80
"""The width of a terminal that does not say it."""

SOURCES = ("service", "workers", "cli", "trainer")


class StepFailed(Exception):
    """A command has failed; the message is what it said."""


@dataclass(frozen=True)
class Step:
    """One command. `shown` passes its output on as it is, for what has a progress bar of its own."""

    title: str
    command: list[str]
    shown: bool = False


class Done:
    """What uv has done so far, by the lines that it writes. It names only the downloads of over a megabyte."""

    def __init__(self) -> None:
        self._begun = self._ended = 0
        self.text = ""

    def read(self, line: str) -> None:
        """Take a line in; most are one package's."""
        words = line.split()
        if words[:1] == ["Downloading"]:
            self._begun += 1
        elif words[:1] == ["Downloaded"]:
            self._ended += 1
        if words[:1] in (["Downloading"], ["Downloaded"]):
            self.text = f"{self._ended} of {self._begun} large packages downloaded"
        elif words[:1] in (["Resolved"], ["Prepared"], ["Bytecode"]):
            self.text = line.strip()
        elif words[:1] == ["Installed"]:
            self.text = f"{line.strip()}, compiling them"


@dataclass
class Progress:
    """Runs steps, and writes which of how many runs, for how long, and what is done of it."""

    total: int
    out: TextIO
    every_seconds: float = PLAIN_SECONDS
    number: int = 0
    began: float = field(default_factory=time.monotonic)

    def run(self, step: Step) -> None:
        """Run one step to its end. Raises `StepFailed`."""
        self.number += 1
        heading = f"[{self.number}/{self.total}] {step.title}"
        if step.shown:
            self._write(f"{heading}\n")
            if subprocess.run(step.command, check=False).returncode != 0:
                raise StepFailed(f"{step.title} has failed, see above.")
            return
        view = _Line(self.out, heading) if self.out.isatty() else _Lines(self.out, heading, self.every_seconds)
        process = subprocess.Popen(step.command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        lines: Queue[str | None] = Queue()
        Thread(target=_read, args=(process, lines), daemon=True).start()
        said, done = [], Done()
        while (line := _next(lines)) is not None:
            said.append(line)
            done.read(line)
            view.show(done.text)
        view.end()
        if process.wait() != 0:
            raise StepFailed("".join(said) or f"{step.title} has failed with status {process.returncode}.")

    def _write(self, text: str) -> None:
        self.out.write(text)
        self.out.flush()


class _Line:
    """One line of a terminal, written again and again."""

    def __init__(self, out: TextIO, heading: str) -> None:
        self._out, self._heading, self._began = out, heading, time.monotonic()

    def show(self, text: str) -> None:
        columns = os.get_terminal_size(self._out.fileno()).columns or NO_COLUMNS
        self._write(f"{self._heading}  {time.monotonic() - self._began:.0f} s  {text}"[: columns - 1])

    def end(self) -> None:
        self._write(f"{self._heading}  {time.monotonic() - self._began:.0f} s\n")

    def _write(self, text: str) -> None:
        self._out.write(f"\r\x1b[K{text}")
        self._out.flush()


class _Lines:
    """Lines of their own, for a file or a pipe."""

    def __init__(self, out: TextIO, heading: str, every_seconds: float) -> None:
        self._out, self._every_seconds = out, every_seconds
        self._began = self._written = time.monotonic()
        self._write(heading)

    def show(self, text: str) -> None:
        now = time.monotonic()
        if now - self._written >= self._every_seconds:
            self._written = now
            self._write(f"{now - self._began:9.0f} s  {text}".rstrip())

    def end(self) -> None:
        pass

    def _write(self, text: str) -> None:
        self._out.write(f"{text}\n")
        self._out.flush()


def _next(lines: Queue[str | None]) -> str | None:
    """The next line of a command; an empty one where it says nothing for a while, and None at its end."""
    try:
        return lines.get(timeout=TERMINAL_SECONDS)
    except Empty:
        return ""


def _read(process: subprocess.Popen[str], lines: Queue[str | None]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        lines.put(line)
    lines.put(None)


def steps(folder: Path, lock: Path, torch: Path | None) -> list[Step]:
    """What builds the environment: itself, torch by pip, the installer, the locked packages, this package."""
    python = str(folder / "bin" / "python")
    pip = [python, "-m", "pip", "install", "--disable-pip-version-check"]
    uv = [str(folder / "bin" / "uv"), "pip", "install", "--python", python, "--no-deps"]
    made = [] if Path(python).exists() else [Step(f"Creating {folder}", [sys.executable, "-m", "venv", str(folder)])]
    if torch is not None:  # by pip: uv would take a build for CUDA, of gigabytes, where pip's index has one for the CPU
        size = "some 200 MB for a CPU, 3 GB for a GPU"
        made.append(Step(f"Installing torch ({size})", [*pip, "-r", str(torch)], shown=True))
    return [
        *made,
        Step("Fetching uv, which installs the packages", [*pip, "-q", "uv"]),
        Step("Installing the locked packages", [*uv, "--compile-bytecode", "--require-hashes", "-r", str(lock)]),
        Step("Installing Tunegate", [*uv, "-e", "."]),
        Step("Compiling Tunegate", [python, "-m", "compileall", "-q", *SOURCES]),
    ]


def without_uv(step: Step, python: str) -> Step:
    """The same step by pip, for a machine that cannot get uv."""
    options = [option for option in step.command[5:] if option != "--compile-bytecode"]
    return Step(f"{step.title} with pip, since there is no uv", [python, "-m", "pip", "install", *options])


def install(folder: Path, lock: Path, torch: Path | None, out: TextIO) -> None:
    """Build the environment. Raises `StepFailed`."""
    todo = steps(folder, lock, torch)
    progress = Progress(len(todo), out)
    uv, python = folder / "bin" / "uv", str(folder / "bin" / "python")
    for step in todo:
        try:
            progress.run(step if step.command[0] != str(uv) or uv.exists() else without_uv(step, python))
        except StepFailed:
            if step.command[-1] != "uv":
                raise
    out.write(f"{folder} is ready after {time.monotonic() - progress.began:.0f} s\n")


def main() -> int:
    """Install as the arguments say. Returns the exit status: 1 if a step has failed, 2 for an old Python."""
    if sys.version_info < MIN_PYTHON:
        print("Python 3.11 or newer is needed: make setup PYTHON=python3.12", file=sys.stderr)
        return 2
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("lock", type=Path)
    parser.add_argument("--torch", type=Path)
    given = parser.parse_args()
    try:
        install(given.folder, given.lock, given.torch, sys.stdout)
    except StepFailed as error:
        print(f"{str(error).rstrip()}\nmake setup has failed; run it again to go on.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted; make setup goes on from here", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
