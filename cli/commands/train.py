"""`tunegate train FILE --model NAME`: trains a model."""

from cli.arguments.train import JobOptions, RunOptions, TrainingOptions
from cli.connection import Connection


def train(
    file: str,
    /,
    *,
    training: TrainingOptions = TrainingOptions(),
    job: JobOptions = JobOptions(),
    run: RunOptions = RunOptions(),
    connection: Connection = Connection(),
) -> int:
    """Train a model on a file: report, price, job, live curve.

    Uploads the file, shows what its report found and the price, asks for confirmation, creates the job and follows it.
    Exits with 0 if the job succeeded (without --watch: was created), 1 if it failed or was cancelled, 2 if it was
    refused or not confirmed, 130 after Ctrl-C, which leaves the job running.

    Parameters
    ----------
    file
        A dataset in JSON Lines, or the id of one at the gateway.
    """
    from cli.jobs.create import train

    with connection.client() as client:
        return train(client, file, training, job, run, options=connection.typed())
