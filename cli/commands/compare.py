"""`tunegate compare FILE`: compares models."""

from dataclasses import replace
from typing import Annotated

from cyclopts import Parameter

from cli.arguments.compare import CompareArguments
from cli.connection import Connection


def compare(
    file: str = "",
    /,
    *,
    arguments: Annotated[CompareArguments, Parameter(name="*")] = CompareArguments(),
    connection: Connection = Connection(),
) -> int:
    """Compare models over a file, by scores, wins, tokens and cost.

    Exits with 0 if the comparison succeeded, 1 if it ended early, 2 if it was refused or not begun, 3 if the last model
    does not beat the first one (--must-beat), 130 after Ctrl-C, which leaves it running.

    Parameters
    ----------
    file
        A file in JSON Lines, which is uploaded, or the id of one at the gateway.
    """
    import cli.compare as comparison

    with connection.client() as client:
        if arguments.cancel is not None:
            return comparison.cancel(client, arguments.cancel)
        if arguments.follow is not None:
            return comparison.follow(client, arguments.follow, arguments)
        return comparison.compare(client, replace(arguments, file=file))
