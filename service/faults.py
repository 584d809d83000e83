"""Named fault points: where a test may kill or stop the process. Without `TUNEGATE_FAULT_POINT` they do nothing.

The variable is `name` or `name:n`: the process sends itself SIGKILL, or the signal `TUNEGATE_FAULT_SIGNAL` (`SIGSTOP`),
at the n-th passage of that point. Both are read here and not in `Settings`, since they are no settings of the service
but a hand that the tests lend it.
"""

import os
import signal

_WANTED, _, _NTH = os.environ.get("TUNEGATE_FAULT_POINT", "").partition(":")
_SIGNAL = signal.Signals[os.environ.get("TUNEGATE_FAULT_SIGNAL") or "SIGKILL"]
_passages = 0


def point(name: str) -> None:
    """A place between two steps where a crash must do no harm."""
    global _passages
    if name == _WANTED:
        _passages += 1
        if _passages == int(_NTH or 1):
            os.kill(os.getpid(), _SIGNAL)
