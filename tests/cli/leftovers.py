"""Looking for what a stack may have left behind."""

from pathlib import Path

from tests.stack import processes_about
from tests.wire import eventually


def nothing_is_left_of(folder: Path) -> None:
    """No process has anything to do with `folder`, once those that were killed have died: that needs their turn."""
    eventually(lambda: not processes_about(folder), every_seconds=0.05)
