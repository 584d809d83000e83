"""Languages of code blocks that are parsed, each by its parser, which raises ValueError."""

import configparser
import csv
import io
import json
import re
import tomllib
from collections.abc import Callable
from typing import Any

import yaml


def _json_lines(text: str) -> None:
    for line in text.splitlines():
        json.loads(line)


def _yaml(text: str) -> None:
    try:
        list(yaml.safe_load_all(text))
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from None


def _csv(text: str) -> None:
    rows = list(csv.reader(io.StringIO(text), strict=True))
    if len({len(row) for row in rows}) != 1:
        raise ValueError("its rows differ in length")


def _ini(text: str) -> None:
    try:
        configparser.ConfigParser(interpolation=None).read_string(
            text if text.startswith("[") else f"[section]\n{text}"
        )
    except configparser.Error as error:
        raise ValueError(str(error)) from None


def _env(text: str) -> None:
    for line in text.splitlines():
        if line.strip() and not re.fullmatch(r"#.*|[A-Z][A-Z0-9_]*=\S*(\s+#.*)?", line):
            raise ValueError(f"'{line}' is not NAME=value")


def _mermaid(text: str) -> None:
    """Of Mermaid's kinds of diagrams, the two that the documents use; each line is one of the kind's statements."""
    kind, *lines = (line.strip() for line in text.splitlines() if line.strip() and not line.strip().startswith("%%"))
    if kind not in _MERMAID:
        raise ValueError(f"'{kind}' is not one of {', '.join(_MERMAID)}")
    depth = 0
    for line in lines:
        if not re.fullmatch(_MERMAID[kind], line):
            raise ValueError(f"'{line}' is no statement of a {kind}")
        depth += bool(re.match(r"(loop|alt|opt|par|critical|rect|note) ", line)) - (line == "end")
        if depth < 0:
            break
    if depth:
        raise ValueError("its blocks and ends do not match")
    if kind == "sequenceDiagram":
        _check_participants(lines)


_MERMAID = {
    "sequenceDiagram": r"(participant|actor) \w+( as .+)?|\w+ *--?(>>|>|x|\)) *[+-]?\w+ *: *\S.*"
    r"|(loop|alt|opt|par|critical|else|and|option)( .+)?|end|Note (over|left of|right of) [\w,]+: .+",
    "stateDiagram-v2": r"(\[\*\]|\w+) --> (\[\*\]|\w+)( *: *\S.*)?|\w+ : .+|direction (LR|TB)",
}


def _check_participants(lines: list[str]) -> None:
    declared = {match[1] for line in lines if (match := re.match(r"(?:participant|actor) (\w+)", line))}
    used = {
        name for line in lines if (match := re.match(r"(\w+) *--?\S+? *[+-]?(\w+) *:", line)) for name in match.groups()
    }
    if unknown := used - declared:
        raise ValueError(f"it does not declare {', '.join(sorted(unknown))}")


PARSERS: dict[str, Callable[[str], Any]] = {
    "json": json.loads,
    "jsonl": _json_lines,
    "csv": _csv,
    "toml": tomllib.loads,
    "yaml": _yaml,
    "ini": _ini,
    "env": _env,
    "mermaid": _mermaid,
}
