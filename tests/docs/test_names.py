"""Metrics, log events, fault points, settings and commands that the documents name exist in the code."""

import re
from pathlib import Path

from cli.main import app
from service.fault_points import POINTS
from service.settings import documentation
from tests.docs.references import ROOT, documents

CODE = "\n".join(
    path.read_text(encoding="utf-8")
    for folder in ("service", "workers", "cli")
    for path in sorted((ROOT / folder).rglob("*.py"))
)
NOT_METRICS = {"tunegate_service"}
"""Names of this form that are something else: the role in Postgres."""


def test_metrics() -> None:
    defined = set(re.findall(r'"(tunegate_\w+)"', CODE))
    for page, text in _pages():
        named = set(re.findall(r"`(tunegate_[a-z_]+)", text)) - NOT_METRICS
        assert named - defined == set(), page


def test_the_log_events_that_operators_read_about() -> None:
    logged = set(re.findall(r'(?:log\.\w+\(\s*|failure_event = )"([\w.]+)"', CODE))
    table = (ROOT / "docs/operations.md").read_text(encoding="utf-8").partition("| log event |")[2].partition("\n\n")[0]
    named = {event for row in table.splitlines()[2:] for event in re.findall(r"`([\w.]+)`", row.split("|")[1])}
    assert named
    assert named - logged == set()


def test_the_list_of_fault_points() -> None:
    text = (ROOT / "docs/durability.md").read_text(encoding="utf-8")
    table = text.partition("| point | what has just happened |\n|---|---|\n")[2].partition("\n\n")[0]
    assert table.splitlines() == [f"| `{name}` | {what} |" for name, what in POINTS.items()]


def test_fault_points_in_the_text() -> None:
    text = (ROOT / "docs/durability.md").read_text(encoding="utf-8")
    kinds = {name.partition(".")[0] for name in POINTS}
    named = {name for name in re.findall(r"`([a-z_]+\.[a-z_]+)`", text) if name.partition(".")[0] in kinds}
    assert named - set(POINTS) - {"gateway.compatible_from"} == set()


def test_settings() -> None:
    settings = {name for name, *_ in documentation()} | set(re.findall(r'environ(?:\.get\(|\[)"(\w+)"', CODE))
    for page, text in _pages():
        assert set(re.findall(r"\bTUNEGATE_[A-Z_]+", text)) - settings == set(), page


def test_commands() -> None:
    commands = set(app)
    for page, text in _pages():
        named = set(re.findall(r"(?:`|^ {4}|^)tunegate ([a-z]+)", text, re.MULTILINE))
        assert named - commands == set(), page


def _pages() -> list[tuple[str, str]]:
    pages: list[Path] = documents()
    return [(page.relative_to(ROOT).as_posix(), page.read_text(encoding="utf-8")) for page in pages]
