"""Prints `docs/checks.md`. Usage: `python -m service.datasets.checks > docs/checks.md`."""

from service.datasets.checks.markdown import checks_markdown

print(checks_markdown(), end="")
