"""What documents refer to in the repository: paths, and definitions as `path.py:name` or `path.py:Class.method`."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

TOP_FOLDERS = ("service", "workers", "cli", "trainer", "tests", "benchmarks", "examples", "alembic", "docs")
"""A backticked word that begins with one of these and a slash is a path of the repository."""

_PATH = re.compile(rf"`((?:{'|'.join(TOP_FOLDERS)})/[\w./*-]*)(?::([\w.]+))?`")


def documents() -> list[Path]:
    """Every document that people read: those at the top, in docs/ and beside the code."""
    return [
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/**/*.md"),
        *ROOT.glob("service/**/*.md"),
        *ROOT.glob("examples/**/*.md"),
    ]


def references(page: Path) -> Iterator[tuple[str, str | None]]:
    """The paths that a page names in backticks, each with the definition that it names in that file."""
    for match in _PATH.finditer(page.read_text(encoding="utf-8")):
        yield match[1], match[2]


def fault(path: str, name: str | None) -> str | None:
    """What is wrong with a reference, or None."""
    if not (any(ROOT.glob(path.rstrip("/"))) if "*" in path else (ROOT / path).exists()):
        return f"{path} does not exist"
    if name is not None and name not in definitions(ROOT / path):
        return f"{path} does not define {name}"
    return None


@cache
def definitions(path: Path) -> frozenset[str]:
    """The names that a module defines at its top, and `Class.member` of its classes."""
    found: set[str] = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        for name in _names(node):
            found.add(name)
            if isinstance(node, ast.ClassDef):
                found |= {f"{name}.{member}" for inner in node.body for member in _names(inner)}
    return frozenset(found)


def _names(node: ast.stmt) -> Iterator[str]:
    match node:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            yield name
        case ast.Assign(targets=targets):
            yield from (target.id for target in targets if isinstance(target, ast.Name))
        case ast.AnnAssign(target=ast.Name(id=name)):
            yield name
