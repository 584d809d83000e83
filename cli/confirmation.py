"""Confirmation at the terminal, before a command spends, deletes or changes what cannot be undone."""

import sys

from rich.console import Console
from rich.text import Text

from cli.errors import Refused


def confirm(question: str, *, yes: bool) -> None:
    """Ask on standard error, unless `yes` was given. Raises `Refused` without a terminal, or for another answer."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise Refused(f"{question} There is no terminal to ask at. Give --yes to begin without confirmation.")
    try:
        answer = Console(stderr=True, highlight=False).input(Text(f"{question} [y/N] "))
    except EOFError:
        answer = ""
    if answer.strip().lower() not in ("y", "yes"):
        raise Refused("Not confirmed, so nothing was done.")
