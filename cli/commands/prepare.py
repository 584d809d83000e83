"""`tunegate prepare FILE`: training data out of other files."""

import os
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from cli.arguments.prepare import PrepareArguments
from service.settings import Settings


def prepare(file: Path, /, *, arguments: Annotated[PrepareArguments, Parameter(name="*")] = PrepareArguments()) -> int:
    """Make training data of a CSV, TSV, XLSX, JSON, JSON Lines or text file, without a server.

    Exits with 0 if it is clean, 1 if what it made has errors, 2 if nothing could be made.

    Parameters
    ----------
    file
        The input. It is only read.
    """
    from cli.prepare import prepare_file

    return prepare_file(file, arguments, Settings.from_env(os.environ))
