"""Progress bars that leave nothing behind, and print nothing where the output is not a terminal."""

from rich.console import Console
from rich.progress import Progress, ProgressColumn


def progress_bar(console: Console, *columns: ProgressColumn) -> Progress:
    """A progress display with these columns."""
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
