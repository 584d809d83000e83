"""`tunegate config`: shows the settings, and where each comes from."""

import os
from pathlib import Path

from cli.options import AsJson, Flag


def config(*, as_json: AsJson = False, changed: Flag = False, ready_file: Path | None = None) -> int:
    """Show each setting, its value and where it comes from.

    Secrets are not shown. Exits with 1 if a variable TUNEGATE_… is no setting, 2 if a value is invalid.

    Parameters
    ----------
    as_json
        Print nothing but the settings as JSON.
    changed
        Leave out the settings that have their default.
    ready_file
        The ready file of a running `tunegate dev`, whose addresses replace those of the environment.
    """
    from cli.config import show_config

    return show_config(os.environ, as_json=as_json, changed=changed, ready_file=ready_file)
