"""Runs a program that cannot outlive its parent process: `python -I -S guard.py [options] -- program args…`.

The guard replaces itself by the program (exec), so the pid that the supervisor sees is the program's own. Before that
it does what only the child process can do:

- asks the kernel for a signal when its parent dies, even by SIGKILL (Linux; elsewhere the next start finds an
  orphan by its pid file),
- drops root in one of two ways, since PostgreSQL refuses to run as root: by a user namespace in which root's files
  belong to `nobody`, or by changing to that user.

It imports the standard library only and takes about 20 ms.
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
    """Prepare this process, then exec the program. Exits with 126 and a message if that fails."""
    parser = argparse.ArgumentParser(prog="guard", allow_abbrev=False)
    parser.add_argument("--parent", type=int, required=True, help="pid of the process that must stay alive")
    parser.add_argument("--death-signal", type=int, default=signal.SIGKILL, help="the signal to receive when it ends")
    drop = parser.add_mutually_exclusive_group()
    drop.add_argument("--namespace", action="store_true", help="run as nobody in a user namespace")
    drop.add_argument("--nobody", action="store_true", help="run as nobody")
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
        die_with_parent(options.parent, options.death_signal)
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


def die_with_parent(parent: int, death_signal: int) -> None:
    if sys.platform != "linux":
        return
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "no death signal: " + os.strerror(ctypes.get_errno()))
    if os.getppid() != parent:  # the parent died before the call
        sys.exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
