"""`tunegate check FILE`: the dataset report."""

import os
from pathlib import Path

from cli.options import AsJson, Flag
from service.settings import Settings


def check(
    file: Path,
    /,
    *,
    as_json: AsJson = False,
    model: str | None = None,
    validation: Path | None = None,
    profile: Flag = False,
) -> int:
    """Check a dataset without a server: errors, tokens, prices.

    Every error has its line. Exits with 0 without errors, 1 if it has errors or shares examples with the validation
    file, 2 if it is unreadable.

    Parameters
    ----------
    file
        The dataset, in JSON Lines. Of another file the report says what it is, and which command converts it.
    as_json
        Print nothing but the report as JSON.
    model
        The model to check and price the file for. Default: the default model of the catalogue.
    validation
        A validation file: report which of its examples are in FILE too, identical, with the same prompt, or nearly.
    profile
        Print the duration of each check to standard error.
    """
    from cli.check import check_file

    settings = Settings.from_env(os.environ)
    return check_file(file, model=model, settings=settings, as_json=as_json, validation=validation, profile=profile)
