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
    """Check a dataset without a server: every error with its line, token counts, prices.

    Exits with 0 if it is clean, 1 if it has errors or shares examples with the validation file, 2 if it cannot be read.

    Parameters
    ----------
    file
        The dataset, in JSON Lines.
    as_json
        Print nothing but the report as JSON.
    model
        The model to check and price it for. Default: the catalogue's.
    validation
        A validation file: say which of its examples stand in FILE too, the same, by their prompt, or nearly.
    profile
        Say on standard error how long each check took.
    """
    from cli.check import check_file

    settings = Settings.from_env(os.environ)
    return check_file(file, model=model, settings=settings, as_json=as_json, validation=validation, profile=profile)
