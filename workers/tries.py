"""How often work on a dataset is tried. Pure.

A try is counted before it is made, for the dataset may take the whole worker down with it; but a worker dies of other
things too, and then the dataset is not at fault. So five crashes of the process that works on it are the end, or twenty
tries of which nobody lived to tell: a crash counts as four tries.
"""

MOST_TRIES = 20
_TRIES_A_CRASH = 4
_FIRST_PAUSE_SECONDS = 2.0
_PAUSE_GROWS = 3.0


def after_crash(tries: int) -> int:
    """What is counted when the process crashed in a try: the work is given up from `MOST_TRIES` on."""
    return tries + _TRIES_A_CRASH - 1


def pause_seconds(tries: int) -> float:
    """How long to wait after a crash: 2 s, 6 s, 18 s, 54 s. A store that is away for a minute fails no dataset."""
    return _FIRST_PAUSE_SECONDS * _PAUSE_GROWS ** max(0, tries // _TRIES_A_CRASH - 1)
