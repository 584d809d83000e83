"""Which failures of a command are one line at the terminal, and how a defect is shown."""

import errno
import os
import sys
import traceback

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


def show_defect(error: Exception) -> None:
    """Print the traceback of an unexpected error, and what to do with it."""
    traceback.print_exception(error)
    print("tunegate: This is a defect. Please report it with these lines and `tunegate --version`.", file=sys.stderr)


def discard_output() -> None:
    """After the reader of the output has gone: write the rest nowhere, so that nothing complains at the end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
