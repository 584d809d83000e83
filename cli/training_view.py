"""The view of a running job: a progress bar with the loss in a terminal, a few plain lines in a pipe."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Protocol

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Column as TableColumn
from rich.text import Text

BLOCKS = "▁▂▃▄▅▆▇█"
SPARK_WIDTH = 16
BAR_WIDTH = 110
"""The width of a terminal from which there is room for a bar beside the figures."""

PLAIN_LINES = 6
"""The number of lines for a whole training in a pipe."""


class View(Protocol):
    """Shows the status and the steps of a running job."""

    def status(self, status: str, waiting: str = "") -> None:
        """Show the job's status, and why it waits."""

    def steps(self, *, step: int, total: int, losses: Sequence[float], valid_loss: float | None = None) -> None:
        """Show the progress, with the loss of every step so far, and the last loss on held-out examples."""

    def message(self, text: Text) -> None:
        """Print a line that stays."""


def sparkline(values: Sequence[float], width: int = SPARK_WIDTH) -> str:
    """The values as blocks, scaled from zero to the largest; more values than `width` are averaged in groups."""
    if not values:
        return ""
    groups = min(width, len(values))
    bounds = [round(index * len(values) / groups) for index in range(groups + 1)]
    means = [sum(values[low:high]) / (high - low) for low, high in pairwise(bounds)]
    top = max(means) or 1.0
    return "".join(BLOCKS[min(len(BLOCKS) - 1, int(max(0.0, mean) / top * len(BLOCKS)))] for mean in means)


@contextmanager
def training_view(console: Console) -> Iterator[View]:
    """The view that fits the console."""
    if not console.is_terminal:
        yield _Plain(console)
        return
    progress = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        *([BarColumn(bar_width=18)] if console.width >= BAR_WIDTH else []),
        TextColumn("{task.fields[figures]}", table_column=TableColumn(no_wrap=False)),
        TimeElapsedColumn(),
        console=console,
        transient=True,
    )
    with progress:
        yield _Bar(progress)


class _Bar:
    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = progress.add_task("queued", total=None, figures="")

    def status(self, status: str, waiting: str = "") -> None:
        self._progress.update(self._task, description=status)
        if waiting:
            self._progress.update(self._task, figures=escape(waiting))

    def steps(self, *, step: int, total: int, losses: Sequence[float], valid_loss: float | None = None) -> None:
        held_out = "" if valid_loss is None else f"  validation {valid_loss:.3f}"
        figures = f"step {step}/{total}  loss {losses[-1]:.3f}  [cyan]{sparkline(losses)}[/]{held_out}"
        self._progress.update(self._task, total=total, completed=step, figures=figures)

    def message(self, text: Text) -> None:
        self._progress.console.print(text, soft_wrap=True)


class _Plain:
    def __init__(self, console: Console) -> None:
        self._console = console
        self._lines_printed = 0
        self._waiting = ""

    def status(self, status: str, waiting: str = "") -> None:
        """A pipe gets lines for steps, and for each new reason to wait."""
        if waiting and waiting != self._waiting:
            self.message(Text(f"  {waiting}"))
        self._waiting = waiting

    def steps(self, *, step: int, total: int, losses: Sequence[float], valid_loss: float | None = None) -> None:
        due = step * PLAIN_LINES // total
        if due > self._lines_printed:
            self._lines_printed = due
            held_out = "" if valid_loss is None else f"   validation {valid_loss:.3f}"
            line = f"  step {step:>4}/{total}   loss {losses[-1]:.3f}{held_out}   {sparkline(losses)}"
            self.message(Text(line))

    def message(self, text: Text) -> None:
        self._console.print(text, soft_wrap=True)
