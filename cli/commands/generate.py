"""`tunegate generate TOPIC…`: generates a dataset."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from cli.arguments.generate import GenerateArguments


def generate(
    *topics: str,
    arguments: Annotated[GenerateArguments, Parameter(name="*")] = GenerateArguments(),
    ready_file: Path | None = None,
) -> int:
    """Generate a dataset: models write questions and answers.

    Models at the gateway write a question on a topic, then its answer. The gateway and the key are those of
    OPENAI_BASE_URL and OPENAI_API_KEY, or of --ready-file. Exits with 0 if the generation succeeded, 1 if it ended
    early, 2 if it was refused or not begun, 130 after Ctrl-C, which leaves it running.

    Parameters
    ----------
    topics
        The topics of the examples.
    ready_file
        The ready file of a running `tunegate dev`.
    """
    import cli.generate as generation
    from cli.gateway import Gateway

    gateway = Gateway.found(os.environ, ready_file)
    if arguments.cancel is not None:
        return generation.cancel(gateway, arguments.cancel)
    if arguments.follow is not None:
        return generation.follow(gateway, arguments.follow, out=arguments.out, as_json=arguments.as_json)
    return generation.generate(gateway, replace(arguments, topics=topics))
