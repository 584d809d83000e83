"""`tunegate jobs`: lists, shows, follows, controls and clones fine-tuning jobs."""

from typing import Literal

from cyclopts import App

from cli.arguments.train import JobOptions, RunOptions, TrainingOptions
from cli.connection import Connection
from cli.options import AsJson, Flag
from cli.paths import job_path

jobs = App(name="jobs", help="List, follow, control and clone fine-tuning jobs.")

Sort = Literal[
    "created_at",
    "cost",
    "expected_cost",
    "duration_seconds",
    "train_loss",
    "valid_loss",
    "best_valid_loss",
    "tokens_per_second",
    "trained_tokens",
]
Status = Literal["validating_files", "queued", "running", "succeeded", "failed", "cancelled"]


@jobs.command(name="list")
def list_jobs(
    *,
    status: Status | None = None,
    model: str | None = None,
    training_file: str | None = None,
    created_by: str | None = None,
    experiment: str | None = None,
    sort: Sort | None = None,
    order: Literal["asc", "desc"] | None = None,
    limit: int = 20,
    as_json: AsJson = False,
    connection: Connection = Connection(),
) -> None:
    """List jobs with their losses, cost, duration and verdict.

    Parameters
    ----------
    status
        Only jobs with this status.
    model
        Only jobs that train this model.
    training_file
        Only jobs with this training file.
    created_by
        Only jobs of this key or service account.
    experiment
        Only arms of this experiment.
    sort
        What to sort by. Default: created_at.
    order
        asc or desc. Default: desc, the newest or greatest first.
    limit
        How many to list.
    as_json
        Print nothing but the list as JSON.
    """
    from cli.jobs.show import show_jobs
    from cli.output import console, print_json

    filters = {"status": status, "model": model, "training_file": training_file}
    filters |= {"created_by": created_by, "experiment": experiment, "sort": sort, "order": order}
    with connection.client() as client:
        found = client.list("/fine_tuning/jobs", limit=limit, **filters)
    if as_json:
        print_json(found.as_object())
        return
    show_jobs(found.data, console())
    if found.has_more:
        console().print(f"There are more; --limit {2 * limit} lists more.", style="dim")


@jobs.command
def show(job_id: str, /, *, as_json: AsJson = False, connection: Connection = Connection()) -> None:
    """Show a job with its settings, losses, cost, verdict and advice.

    Parameters
    ----------
    job_id
        The job.
    as_json
        Print nothing but the job as JSON.
    """
    from cli.jobs.show import show_job
    from cli.output import console, print_json

    with connection.client() as client:
        job = client.get(job_path(job_id))
    if as_json:
        print_json(job)
    else:
        show_job(job, console())


@jobs.command(name="watch")
def follow(job_id: str, /, *, as_json: AsJson = False, connection: Connection = Connection()) -> int:
    """Follow a job until it has ended.

    Exits with 0 if it succeeded, 1 if it failed or was cancelled, 130 after Ctrl-C, which leaves it running.

    Parameters
    ----------
    job_id
        The job.
    as_json
        Print nothing but the job as JSON, when it has ended.
    """
    from cli.interruption import interruptible
    from cli.jobs.follow import follow_job

    with connection.client() as client, interruptible() as interrupted:
        return follow_job(client, job_id, interrupted, as_json=as_json, options=connection.typed())


@jobs.command
def cancel(job_id: str, /, *, as_json: AsJson = False, connection: Connection = Connection()) -> None:
    """Cancel a job.

    Parameters
    ----------
    job_id
        The job.
    as_json
        Print nothing but the job as JSON.
    """
    _control(job_id, "cancel", "is cancelled as soon as a worker has reached the upstream", as_json, connection)


@jobs.command
def pause(job_id: str, /, *, as_json: AsJson = False, connection: Connection = Connection()) -> None:
    """Pause a job, if its upstream can.

    Parameters
    ----------
    job_id
        The job.
    as_json
        Print nothing but the job as JSON.
    """
    _control(job_id, "pause", "pauses; `tunegate jobs resume` continues it", as_json, connection)


@jobs.command
def resume(job_id: str, /, *, as_json: AsJson = False, connection: Connection = Connection()) -> None:
    """Continue a paused job.

    Parameters
    ----------
    job_id
        The job.
    as_json
        Print nothing but the job as JSON.
    """
    _control(job_id, "resume", "continues", as_json, connection)


@jobs.command
def clone(
    job_id: str,
    /,
    *,
    file: str | None = None,
    training: TrainingOptions = TrainingOptions(),
    job: JobOptions = JobOptions(),
    run: RunOptions = RunOptions(),
    connection: Connection = Connection(),
) -> int:
    """Create a job like another one, with changes.

    What changes is shown first. What was chosen for `auto` is kept as it was chosen; `--epochs auto` chooses anew. The
    alias of --deploy is not taken over. Exits like `tunegate train`.

    Parameters
    ----------
    job_id
        The job to take over from.
    file
        Another training file, or the id of one at the gateway.
    """
    from cli.jobs.create import clone

    with connection.client() as client:
        return clone(client, job_id, file, training, job, run, options=connection.typed())


@jobs.command
def metrics(
    job_id: str, /, *, csv: Flag = False, as_json: AsJson = False, connection: Connection = Connection()
) -> None:
    """Show the losses and accuracies of a job's steps.

    Parameters
    ----------
    job_id
        The job.
    csv
        Print nothing but all steps as CSV.
    as_json
        Print nothing but all steps as JSON.
    """
    from cli.jobs.metrics import show_metrics
    from cli.output import console, print_json

    path = job_path(job_id, "metrics")
    with connection.client() as client:
        if csv:
            print(client.text(path, format="csv"), end="")
        elif as_json:
            print_json(client.get(path))
        else:
            show_metrics(client.get(path)["data"], console())


def _control(job_id: str, action: str, result: str, as_json: bool, connection: Connection) -> None:
    from cli.output import print_json

    with connection.client() as client:
        job = client.post(job_path(job_id, action))
    if as_json:
        print_json(job)
    else:
        print(f"{job['id']} {result}." if job["status"] != "cancelled" else f"{job['id']} is cancelled.")
