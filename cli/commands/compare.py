"""`tunegate compare FILE`: compares models."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from cli.arguments.compare import CompareArguments


def compare(
    file: str = "",
    /,
    *,
    arguments: Annotated[CompareArguments, Parameter(name="*")] = CompareArguments(),
    ready_file: Path | None = None,
) -> int:
    """Compare models over a file, by scores, wins, tokens and cost.

    The gateway and the key are those of OPENAI_BASE_URL and OPENAI_API_KEY, or of --ready-file. Exits with 0 if the
    comparison succeeded, 1 if it ended early, 2 if it was refused or not begun, 3 if the last model does not beat the
    first one (--must-beat), 130 after Ctrl-C, which leaves it running.

    Parameters
    ----------
    file
        A file in JSON Lines, which is uploaded, or the id of one at the gateway.
    ready_file
        The ready file of a running `tunegate dev`.
    """
    import cli.compare as comparison
    from cli.gateway import Gateway

    gateway = Gateway.found(os.environ, ready_file)
    if arguments.cancel is not None:
        return comparison.cancel(gateway, arguments.cancel)
    if arguments.follow is not None:
        return comparison.follow(gateway, arguments.follow, arguments)
    return comparison.compare(gateway, replace(arguments, file=file))
