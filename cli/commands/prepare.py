"""`tunegate prepare FILE`: makes training data of other files."""

import os
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from cli.arguments.prepare import PrepareArguments
from service.settings import Settings


def prepare(file: Path, /, *, arguments: Annotated[PrepareArguments, Parameter(name="*")] = PrepareArguments()) -> int:
    """Make training data from tables, JSON or text, without a server.

    Exits with 0 without errors, 1 if the results have errors, 2 if the file cannot be prepared.

    Parameters
    ----------
    file
        The input, which is not changed: CSV, TSV, XLSX, XLSB, XLS, ODS, JSON, JSON Lines or text, also with gzip.
    """
    from cli.prepare import prepare_file

    return prepare_file(file, arguments, Settings.from_env(os.environ))
