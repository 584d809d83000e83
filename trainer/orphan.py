"""A training process must not outlive the server: a restarted server would run its job a second time."""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def die_with(parent_pid: int) -> None:
    """Ask Linux to kill this process when its parent ends; exits at once when that has happened already."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    exit_if_orphaned(parent_pid)


def exit_if_orphaned(parent_pid: int) -> None:
    """End this process when its parent is no longer `parent_pid`; called between steps, for systems without prctl."""
    if os.getppid() != parent_pid:
        os._exit(0)
