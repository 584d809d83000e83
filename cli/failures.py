"""Which failures of a command are one line at the terminal, and how a defect is shown."""

import errno
import os
import sys
import traceback

from cyclopts import CoercionError, CycloptsError, MissingArgumentError, UnusedCliTokensError

ADVICE = {
    errno.EACCES: "Give this user the right to it, or name another one.",
    errno.EPERM: "Give this user the right to it, or name another one.",
    errno.EROFS: "Name a folder that can be written.",
    errno.ENOSPC: "Free space on that disk.",
    errno.EDQUOT: "Free space within this user's quota.",
    errno.ENOTDIR: "A part of the path is a file. Name another path.",
    errno.EISDIR: "Name a file.",
    errno.EEXIST: "Name another path.",
    errno.ENAMETOOLONG: "Name a shorter path.",
    errno.ELOOP: "Its links point at each other.",
    errno.EMFILE: "Raise the limit of open files (ulimit -n).",
    errno.ENFILE: "The system has too many open files.",
    errno.ENOMEM: "The machine has no memory left.",
}
"""What to do about errors of the system that no defect of this program causes."""


def line_of(error: OSError) -> str | None:
    """An error of the machine or the network in one line; None for one that may be a defect."""
    if isinstance(error, ConnectionError):
        return f"A required server does not answer: {error}"
    if error.errno not in ADVICE:
        return None
    path = error.filename2 or error.filename
    what = error.strerror or os.strerror(error.errno)
    return f"{f'{path}: ' if path else ''}{what}. {ADVICE[error.errno]}"


def usage_line(error: CycloptsError) -> str:
    """A command that was typed wrongly in one line, with where its help is."""
    help_command = f"`tunegate {' '.join((*(error.command_chain or ()), '--help'))}` shows how."
    match error:
        case MissingArgumentError(argument=argument, keyword=None) if argument is not None and not argument.tokens:
            name = argument.name
            return f"{name if name.startswith('-') else name.upper()} is missing. {help_command}"
        case UnusedCliTokensError(unused_tokens=[first, *_]):
            return f"{first!r} is one argument too many. {help_command}"
        case CoercionError(token=token, target_type=wanted) if token is not None and token.keyword:
            numbers: dict[type, str] = {int: "is no whole number", float: "is no number"}
            what = "is neither a number nor auto" if "[auto]" in str(error) else numbers.get(wanted or str)
            return f"{token.keyword}: {token.value!r} {what}." if what else str(error)
        case _:
            return str(error)


def show_defect(error: Exception) -> None:
    """Print the traceback of an unexpected error, and what to do with it."""
    traceback.print_exception(error)
    print("tunegate: This is a defect. Please report it with these lines and `tunegate --version`.", file=sys.stderr)


def discard_output() -> None:
    """After the reader of the output has gone: write the rest nowhere, so that nothing complains at the end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
