"""Creates a job: reports, price, confirmation, the job itself, and its progress."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.text import Text

from cli import output
from cli.arguments.train import JobOptions, RunOptions, TrainingOptions
from cli.checked_files import checked_pair, post_when_checked
from cli.client import Client
from cli.confirmation import confirm
from cli.errors import Refused
from cli.interruption import interruptible
from cli.jobs.follow import follow_job
from cli.jobs.quotes import show_quote
from cli.jobs.request import changes, quote_body, request_of, with_job, with_training
from cli.output import dollars, print_json
from cli.paths import job_path, path_of

EXIT_OK, EXIT_NOT_ALLOWED = 0, 1


def train(
    client: Client, file: str, training: TrainingOptions, job: JobOptions, run: RunOptions, *, options: str
) -> int:
    """Upload and check the files, then quote, confirm, create and follow the job. Returns the exit status.

    `options` select the gateway in the commands that are printed. Raises `Refused`.
    """
    if training.model is None:
        raise Refused("Name the model to train: --model NAME. `tunegate models list` shows them.")
    body = with_job(with_training({}, training), job)
    client.get(path_of("models", training.model))  # refuses an unknown model before anything is uploaded
    return _check_and_create(client, body, file, training.valid, run, options)


def clone(
    client: Client,
    job_id: str,
    file: str | None,
    training: TrainingOptions,
    job: JobOptions,
    run: RunOptions,
    *,
    options: str,
) -> int:
    """Create a job like another one, with the given changes. Returns the exit status. Raises `Refused`."""
    console = output.console(stderr=run.as_json)
    before = request_of(client.get(job_path(job_id)), client.get(job_path(job_id, "timeline")))
    body = with_job(with_training(before, training), job)
    files = {"training_file": file, "validation_file": training.valid}
    body.update({name: each for name, each in files.items() if each is not None})
    changed = changes(before, body)
    if changed:
        console.print(f"A job like {job_id}, with these changes:")
        for name, old, new in changed:
            console.print(Text(f"  {name}: {old or 'not set'} → {new or 'not set'}"), soft_wrap=True)
    else:
        console.print(f"The same request as {job_id}, also with its seed.")
    return _check_and_create(client, body, body["training_file"], body.get("validation_file"), run, options)


def _check_and_create(
    client: Client, body: dict[str, Any], file: str, valid: str | None, run: RunOptions, options: str
) -> int:
    console = output.console(stderr=run.as_json)
    body |= checked_pair(client, file, valid, console, model=body["model"])
    quote = post_when_checked(client, "/fine_tuning/quotes", quote_body(body))
    if run.quote:
        if run.as_json:
            print_json(quote)
        else:
            show_quote(quote, console)
        return EXIT_OK if quote["allowed"] else EXIT_NOT_ALLOWED
    show_quote(quote, console)
    if not quote["allowed"]:
        raise Refused(" ".join(["The job is not allowed.", *quote["reasons"]]))
    confirm(f"Train {body['model']} for at most {dollars(quote['price']['upper'])}?", yes=run.yes)
    return _create(client, {**body, "quote_id": quote["id"]}, run, console, options)


def _create(client: Client, body: Mapping[str, Any], run: RunOptions, console: Console, options: str) -> int:
    follows = console.is_terminal and not run.as_json if run.follow is None else run.follow
    with interruptible() as interrupted:
        job = client.post("/fine_tuning/jobs", body)
        console.print(Text.assemble("Created ", (job["id"], "bold")), soft_wrap=True)
        if follows:
            return follow_job(client, job["id"], interrupted, as_json=run.as_json, options=options)
    if run.as_json:
        print_json(job)
    else:
        console.print(f"  tunegate jobs watch {job['id']}{options}   shows its progress", soft_wrap=True)
    return EXIT_OK
