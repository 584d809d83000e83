"""Become a program that cannot outlive the process that started it: `python -I -S guard.py [options] -- program args…`.

The guard replaces itself by the program (exec), so the pid that the supervisor sees is the program's own. Before that
it does what only the child itself can do:

- asks the kernel for a signal when its parent dies, also by kill −9 (Linux; elsewhere an orphan is found by its pid
  file at the next start),
- drops root in one of two ways, for PostgreSQL refuses to run as root: by a user namespace in which root's files
  belong to `nobody`, or by changing to that user.

It imports the standard library alone and costs some 20 ms.
"""

import argparse
import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
CLONE_NEWUSER = 0x10000000
NOBODY = 65534


def main(arguments: list[str]) -> None:
    """Prepare this process, then become the program. Exits with 126 and a reason if that is not possible."""
    parser = argparse.ArgumentParser(prog="guard", allow_abbrev=False)
    parser.add_argument("--parent", type=int, required=True, help="pid of the process that must stay alive")
    parser.add_argument("--death-signal", type=int, default=signal.SIGKILL, help="what to get when it does not")
    drop = parser.add_mutually_exclusive_group()
    drop.add_argument("--namespace", action="store_true", help="be nobody in a user namespace")
    drop.add_argument("--nobody", action="store_true", help="be nobody")
    parser.add_argument("program", nargs="+")
    options = parser.parse_args(arguments)
    try:
        if options.namespace:
            _enter_namespace()
        elif options.nobody:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
        # After the change of user, which clears the death signal.
        _die_with_parent(options.parent, options.death_signal)
        os.execv(options.program[0], options.program)  # noqa: S606 - becoming the program is the purpose
    except OSError as error:
        print(f"cannot start {options.program[0]}: {error}", file=sys.stderr)
        sys.exit(126)


def _enter_namespace() -> None:
    user, group = os.geteuid(), os.getegid()
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWUSER) != 0:
        raise OSError(ctypes.get_errno(), "no user namespace: " + os.strerror(ctypes.get_errno()))
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{NOBODY} {user} 1"),
        ("gid_map", f"{NOBODY} {group} 1"),
    ):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)


def _die_with_parent(parent: int, death_signal: int) -> None:
    if sys.platform != "linux":
        return
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "no death signal: " + os.strerror(ctypes.get_errno()))
    if os.getppid() != parent:  # it died before we asked
        sys.exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
