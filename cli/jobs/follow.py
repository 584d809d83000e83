"""Follows a job until it has ended: its curve, why it waits, its new events, then its result."""

import threading
from typing import Any

from rich.text import Text

from cli import output
from cli.client import Client
from cli.errors import Unreachable
from cli.interruption import Interrupted
from cli.jobs.curve import Curve
from cli.jobs.show import show_result
from cli.output import print_json, printable
from cli.paths import job_path
from cli.polling import ENDED, say_that_it_continues, until_ended
from cli.training_view import View, training_view

EXIT_SUCCEEDED, EXIT_FAILED, EXIT_INTERRUPTED = 0, 1, 130
_STYLES = {"warn": "yellow", "error": "red"}


def follow_job(client: Client, job_id: str, interrupted: threading.Event, *, as_json: bool, options: str = "") -> int:
    """Show a job until it has ended, then its result. Returns the exit status: 0 if it succeeded, 1 if not, 130.

    `options` select the gateway in the commands that say how to go on. Raises `Refused`.
    """
    console = output.console(stderr=as_json)
    curve = Curve(client, job_id)

    def read() -> dict[str, Any]:
        job = client.get(job_path(job_id))
        events.extend(curve.read())
        return job

    events: list[dict[str, Any]] = []
    try:
        with training_view(console) as view:

            def say(line: str) -> None:
                view.message(Text(printable(line), style="yellow"))

            for job in until_ended(read, interrupted, on_unavailable=say):
                for event in events:
                    if job["status"] in ENDED and "verdict" in (event["data"] or {}):
                        continue  # the result says it
                    view.message(Text(printable(event["message"]), style=_STYLES.get(event["level"], "dim")))
                events.clear()
                _update(view, job, curve)
    except Interrupted:
        say_that_it_continues("jobs", job_id, options, console)
        return EXIT_INTERRUPTED
    except Unreachable:
        say_that_it_continues("jobs", job_id, options, console)
        raise
    if as_json:
        print_json(job)
    else:
        show_result(job, console)
    return EXIT_SUCCEEDED if job["status"] == "succeeded" else EXIT_FAILED


def _update(view: View, job: dict[str, Any], curve: Curve) -> None:
    waiting = job["waiting"]
    view.status(job["status"], "" if waiting is None else printable(waiting["message"]))
    if curve.train:
        steps = sorted(curve.train)
        view.steps(
            step=steps[-1],
            total=max(curve.total_steps or 0, steps[-1]),
            losses=[curve.train[step] for step in steps],
            valid_loss=curve.valid[max(curve.valid)] if curve.valid else None,
        )
