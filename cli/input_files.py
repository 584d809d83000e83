"""Says why a file that was named on the command line cannot be read, and what was perhaps meant."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path

_SUFFIXES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".xlsx", ".txt", ".gz")
_SHOWN = 5


def why_unreadable(file: Path, error: OSError) -> str:
    """The message for a file that cannot be opened, with names of files that are like it."""
    if str(file) == "-":
        return "standard input is not read; write it to a file, such as data.jsonl, and name that"
    if isinstance(error, IsADirectoryError):
        inside = [path for path in sorted(file.iterdir()) if path.suffix.lower() in _SUFFIXES]
        return f"{file} is a folder; name one file{_such_as(inside)}"
    if isinstance(error, FileNotFoundError):
        if any(sign in file.name for sign in "*?["):
            return f"no file matches {file}; name one file"
        near = get_close_matches(file.name, [path.name for path in _siblings(file)], n=_SHOWN, cutoff=0.7)
        meant = _such_as([file.with_name(name) for name in near], "; did you mean")
        return f"there is no file {file}{meant}{'?' if meant else ''}"
    return f"cannot read {error.filename or file}: {error.strerror or error}"


def _siblings(file: Path) -> list[Path]:
    return [path for path in file.parent.iterdir() if path.is_file()] if file.parent.is_dir() else []


def _such_as(paths: list[Path], words: str = " in it, such as") -> str:
    return f"{words} {', '.join(str(path) for path in paths[:_SHOWN])}" if paths else ""
