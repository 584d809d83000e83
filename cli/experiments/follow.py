"""Follows an experiment until it has ended: a live table of its arms at a terminal, lines in a pipe."""

import threading
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.text import Text

from cli import output
from cli.client import Client
from cli.errors import Unreachable
from cli.experiments.show import arms_table, show_experiment
from cli.interruption import Interrupted
from cli.output import print_json, printable, table
from cli.paths import path_of
from cli.polling import say_that_it_continues, until_ended

EXIT_SUCCEEDED, EXIT_FAILED, EXIT_INTERRUPTED = 0, 1, 130


def follow_experiment(
    client: Client, experiment_id: str, interrupted: threading.Event, *, as_json: bool, options: str = ""
) -> int:
    """Show the arms of an experiment until it has ended, then its result. Returns the exit status.

    It is 0 if the experiment succeeded, and promoted a model if it was to; 1 if not, 130 after Ctrl-C. `options` select
    the gateway in the commands that say how to go on. Raises `Refused`.
    """
    console = output.console(stderr=as_json)
    path = path_of("fine_tuning", "experiments", experiment_id)
    try:
        with _Arms(console) as arms:
            for experiment in until_ended(lambda: client.get(path), interrupted, on_unavailable=arms.message):
                arms.update(experiment)
    except Interrupted:
        say_that_it_continues("experiment", experiment_id, options, console)
        return EXIT_INTERRUPTED
    except Unreachable:
        say_that_it_continues("experiment", experiment_id, options, console)
        raise
    if as_json:
        print_json(experiment)
    else:
        show_experiment(experiment, console)
    is_refused = (experiment["promotion"] or {}).get("status") == "refused"
    return EXIT_SUCCEEDED if experiment["status"] == "succeeded" and not is_refused else EXIT_FAILED


class _Arms:
    """The arms of an experiment: a table that is drawn anew at a terminal; in a pipe a line for each new status."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, transient=True, auto_refresh=False) if console.is_terminal else None
        self._statuses: dict[int, str] = {}

    def __enter__(self) -> "_Arms":
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def message(self, line: str) -> None:
        """Print a line that stays."""
        self._console.print(Text(printable(line), style="yellow"), soft_wrap=True)

    def update(self, experiment: Mapping[str, Any]) -> None:
        """Show the experiment as it is now."""
        if self._live is not None:
            columns, rows = arms_table(experiment)
            drawn = table(columns, rows)
            drawn.caption = printable(experiment["waiting_reason"] or experiment["status"])
            self._live.update(drawn, refresh=True)
            return
        for arm in experiment["arms"]:
            if self._statuses.get(arm["arm"]) not in (None, arm["status"]):
                reason = f": {printable(arm['reason'])}" if arm["reason"] else ""
                line = Text(f"arm {arm['arm']} {arm['status']}{reason}")
                self._console.print(line, soft_wrap=True)
            self._statuses[arm["arm"]] = arm["status"]
