"""Generates `docs/checks.md` from the registry of checks, so that the page always agrees with the code."""

from __future__ import annotations

from service.datasets.checks.registry import CHECKS
from service.datasets.fixes import FIXES

_SECTIONS = (
    "File",
    "Chat",
    "Tools and functions",
    "Completion",
    "Preference",
    "Reinforcement",
    "Vision",
    "Tokens and money",
    "Quality",
    "Leakage",
)
_INTRODUCTION = """# Dataset checks

Every code that a dataset report (`GET /v1/files/{id}/report`, `tunegate check FILE`) can contain. An **error** stops a
training job; a **warning** costs quality or money; an **info** is good to know. All checks run in one pass over the
file. Every finding has a line, a JSON pointer into that line, an excerpt, and advice. A fix is the name of a step that
`POST /v1/dataset_preparations` can apply; `tunegate check` prints the command that applies it.

This page is generated: `python -m service.datasets.checks > docs/checks.md`.
"""


def checks_markdown() -> str:
    """The text of `docs/checks.md`."""
    parts = [_INTRODUCTION]
    for section in _SECTIONS:
        parts.append(f"\n## {section}\n\n| code | severity | what it finds | fix |\n|---|---|---|---|\n")
        for check in CHECKS.values():
            if check.section == section:
                fix = f"`{check.fix}`" if check.fix else ""
                text = " ".join(check.doc.split()).replace("|", "\\|")
                parts.append(f"| `{check.code}` | {check.severity} | {text} | {fix} |\n")
    parts.append("\n## Fixes\n\n| name | what it does |\n|---|---|\n")
    parts.extend(f"| `{name}` | {text} |\n" for name, text in FIXES.items())
    return "".join(parts)
