"""Confirmation at the terminal, before a command spends, deletes or changes what cannot be undone."""

import sys

from rich.text import Text

from cli.errors import Refused
from cli.output import console


def confirm(question: str, *, yes: bool) -> None:
    """Ask on standard error, unless `yes` was given. Raises `Refused` without a terminal, or for another answer."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise Refused(f"{question} There is no terminal to ask at. Give --yes to go on without confirmation.")
    try:
        answer = console(stderr=True).input(Text(f"{question} [y/N] "))
    except EOFError:
        answer = ""
    if answer.strip().lower() not in ("y", "yes"):
        raise Refused("Not confirmed, so nothing was done.")
