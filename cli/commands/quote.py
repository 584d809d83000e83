"""`tunegate quote FILE --model NAME`: the price of a training."""

from cli.arguments.train import JobOptions, RunOptions, TrainingOptions
from cli.connection import Connection
from cli.options import AsJson


def quote(
    file: str,
    /,
    *,
    training: TrainingOptions = TrainingOptions(),
    as_json: AsJson = False,
    connection: Connection = Connection(),
) -> int:
    """Show what a training would cost, and create nothing.

    The file is uploaded unless it is the id of one. Exits with 0, with 1 if the job would not be allowed, with 2 if the
    file has errors.

    Parameters
    ----------
    file
        A dataset in JSON Lines, or the id of one at the gateway.
    as_json
        Print nothing but the quote as JSON.
    """
    from cli.jobs.create import train

    run = RunOptions(quote=True, as_json=as_json)
    with connection.client() as client:
        return train(client, file, training, JobOptions(), run, options=connection.typed())
