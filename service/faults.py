"""Named fault points: where a test may kill the process. Without `TUNEGATE_FAULT_POINT` they do nothing.

The variable is `name` or `name:n`: the process kills itself with SIGKILL at the n-th passage of that point. It is read
here and not in `Settings`, since it is no setting of the service but a hand that the tests lend it.
"""

import os
import signal

_WANTED, _, _NTH = os.environ.get("TUNEGATE_FAULT_POINT", "").partition(":")
_passages = 0


def point(name: str) -> None:
    """A place between two steps that a crash must not be able to part."""
    global _passages
    if name == _WANTED:
        _passages += 1
        if _passages == int(_NTH or 1):
            os.kill(os.getpid(), signal.SIGKILL)
