"""`tunegate generate TOPIC…`: generates a dataset."""

from dataclasses import replace
from typing import Annotated

from cyclopts import Parameter

from cli.arguments.generate import GenerateArguments
from cli.connection import Connection


def generate(
    *topics: str,
    arguments: Annotated[GenerateArguments, Parameter(name="*")] = GenerateArguments(),
    connection: Connection = Connection(),
) -> int:
    """Generate a dataset: models write questions and answers.

    Models at the gateway write a question on a topic, then its answer. Exits with 0 if the generation succeeded, 1 if
    it ended early, 2 if it was refused or not begun, 130 after Ctrl-C, which leaves it running.

    Parameters
    ----------
    topics
        The topics of the examples.
    """
    import cli.generate as generation

    with connection.client() as client:
        if arguments.cancel is not None:
            return generation.cancel(client, arguments.cancel)
        if arguments.follow is not None:
            return generation.follow(client, arguments.follow, out=arguments.out, as_json=arguments.as_json)
        return generation.generate(client, replace(arguments, topics=topics))
